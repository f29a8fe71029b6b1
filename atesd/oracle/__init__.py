"""What each exposure would truly have gained along a run."""
