"use strict";

const page = JSON.parse(document.getElementById("page-data").textContent);
const BUTTONS = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
const PLOTLY = { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtons: BUTTONS };

for (const [id, figure] of Object.entries(page.figures)) {
  // Plotly keeps the traces it is given and changes them.
  Plotly.newPlot(id, structuredClone(figure.data), figure.layout, PLOTLY);
}

// What is shown: of a figure with a list, the trace picked from it; of a comparison, the methods not hidden.
const hidden = new Set();

function refresh(id) {
  const { data } = page.figures[id];
  const picked = document.querySelector(`select[data-figure="${id}"]`)?.value;
  const visible = data.map((trace) => (!trace.meta || trace.meta.choice === picked) && !hidden.has(trace.legendgroup)
    && (trace.visible ?? true));
  Plotly.restyle(id, { visible });
}

for (const select of document.querySelectorAll("select[data-figure]")) {
  select.addEventListener("change", () => refresh(select.dataset.figure));
  refresh(select.dataset.figure);
}

for (const button of document.querySelectorAll("button[data-method]")) {
  button.addEventListener("click", () => {
    const { method } = button.dataset;
    if (!hidden.delete(method)) hidden.add(method);
    button.setAttribute("aria-pressed", String(!hidden.has(method)));
    Object.keys(page.figures).forEach(refresh);
  });
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const visibleText = (text) => text.replace(/ /g, "␣").replace(/\n/g, "↵").replace(/\t/g, "⇥") || "∅";
const exposureName = (exposure) => String(Number(exposure.toFixed(3)));
// 1 nat is 63 % of the full colour, so that 0.1 and 5 can both be told from their neighbours.
const heat = (nats) => `rgba(200, 85, 61, ${(0.95 * (1 - Math.exp(-Math.max(0, nats)))).toFixed(3)})`;

class TokenView {
  constructor(root, rollouts) {
    this.root = root;
    this.rollouts = rollouts;
    this.select = element("select", { id: "rollout-choice" });
    rollouts.forEach((rollout, index) => {
      const mark = rollout.correct ? "right" : "wrong";
      const run = rollout.run ? `${rollout.run}, ` : "";
      this.select.append(element("option", { value: index }, `${run}update ${rollout.update}: ${rollout.problem} (${mark})`));
    });
    this.select.value = rollouts.findIndex((rollout) => rollout.update === rollouts.at(-1).update);
    this.select.addEventListener("change", () => this.show());
    this.facts = element("p", { className: "facts" });
    this.lanes = element("div", { className: "lanes", tabIndex: 0 });
    this.lanes.setAttribute("role", "listbox");
    this.lanes.setAttribute("aria-label", "tokens of the rollout; left and right arrows move between them");
    this.lanes.addEventListener("keydown", (event) => this.move(event));
    this.card = element("div", { className: "token-card" });
    this.card.setAttribute("aria-live", "polite");
    root.append(element("label", { className: "choice" }, "Rollout ", this.select), this.facts, this.lanes, legend(), this.card);
    this.show();
  }

  show() {
    this.rollout = this.rollouts[this.select.value];
    const { question, reference, completion, correct } = this.rollout;
    const verdict = element("b", { className: correct ? "right" : "wrong" }, correct ? "right" : "wrong");
    this.facts.replaceChildren("Problem ", element("code", {}, question), " · reference ", element("code", {}, reference),
      " · the student wrote ", element("code", {}, completion), " — ", verdict);
    this.lanes.replaceChildren(...this.rollout.teacher.map((score) => this.lane(score)));
    const widest = this.rollout.teacher.at(-1).kl_nats;
    this.point(widest.indexOf(Math.max(...widest)));
  }

  lane(score) {
    const mean = score.kl_nats.reduce((sum, nats) => sum + nats, 0) / score.kl_nats.length;
    const tokens = this.rollout.tokens.map((token, index) => {
      const differs = score.top[index][0][0] !== this.rollout.student[index][0][0];
      const span = element("span", { className: differs ? "token differs" : "token" }, visibleText(token));
      span.style.background = heat(score.kl_nats[index]);
      span.dataset.index = index;
      span.addEventListener("pointerenter", () => this.point(index));
      span.addEventListener("click", () => this.point(index));
      return span;
    });
    const name = element("div", { className: "lane-name" }, `exposure ${exposureName(score.exposure)}`,
      element("small", {}, `shown ${exposureName(score.realised)} · mean ${mean.toFixed(3)} nats`));
    return element("div", { className: "lane" }, name, element("div", { className: "tokens" }, ...tokens));
  }

  move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.point(Math.min(Math.max(this.index + step, 0), this.rollout.tokens.length - 1));
  }

  point(index) {
    this.index = index;
    for (const span of this.lanes.querySelectorAll(".token")) span.classList.toggle("at", Number(span.dataset.index) === index);
    const { tokens, student, teacher } = this.rollout;
    const title = element("h3", {}, `Token ${index + 1} of ${tokens.length}: `, element("code", {}, visibleText(tokens[index])));
    const columns = [column("student", "", student[index])].concat(teacher.map((score) =>
      column(`teacher at ${exposureName(score.exposure)}`, `KL ${score.kl_nats[index].toFixed(3)} nats`, score.top[index])));
    this.card.replaceChildren(title, element("div", { className: "columns" }, ...columns));
  }
}

function column(name, note, top) {
  const rows = top.map(([text, share]) => {
    const bar = element("span", { className: "bar" });
    bar.style.width = `${100 * share}%`;
    return element("li", {}, element("code", {}, visibleText(text)), element("span", { className: "track" }, bar),
      element("span", { className: "share" }, share.toFixed(3)));
  });
  return element("div", { className: "column" }, element("h4", {}, name, element("small", {}, note)), element("ol", {}, ...rows));
}

function legend() {
  const steps = [0, 0.1, 0.5, 1, 2, 4].map((nats) => {
    const step = element("span", { className: "token" }, String(nats));
    step.style.background = heat(nats);
    return step;
  });
  return element("p", { className: "legend" }, "KL in nats: ", ...steps);
}

const root = document.getElementById("token-view");
if (root) new TokenView(root, page.rollouts);
