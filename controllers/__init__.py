"""The controllers, one import line each; importing one registers it as ``controller=NAME``."""

from controllers import alp_gmm as alp_gmm
from controllers import bandit_over_bandits as bandit_over_bandits
from controllers import beta_reinforce as beta_reinforce
from controllers import competence as competence
from controllers import cosine as cosine
from controllers import d_ucb as d_ucb
from controllers import discounted_ts as discounted_ts
from controllers import exp3s as exp3s
from controllers import exponential as exponential
from controllers import fixed as fixed
from controllers import full as full
from controllers import gp_ucb as gp_ucb
from controllers import guarded as guarded
from controllers import lin_ucb as lin_ucb
from controllers import linear as linear
from controllers import logitnormal_reinforce as logitnormal_reinforce
from controllers import none as none
from controllers import pi as pi
from controllers import replay as replay
from controllers import sec as sec
from controllers import step as step
from controllers import sw_ucb as sw_ucb
from controllers import target_success as target_success
from controllers import tscl as tscl
from controllers import ucb1 as ucb1
from controllers import uniform as uniform
