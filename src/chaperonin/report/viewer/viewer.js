// Draws each `.stage` of the report from the PDB text that its `data-atoms` names, when it comes into sight.
// Until it is clicked a view lets the page scroll; then it turns, zooms and moves, until Escape or a click elsewhere.
"use strict";
(() => {
  const bands = [[90, "#0053d6"], [70, "#65cbf3"], [50, "#ffdb13"], [-Infinity, "#ff7d45"]];
  const colour = (atom) => bands.find(([least]) => atom.b >= least)[1];
  const turns = { ArrowLeft: ["y", -10], ArrowRight: ["y", 10], ArrowUp: ["x", -10], ArrowDown: ["x", 10] };

  function hasWebGL() {
    try {
      const context = document.createElement("canvas").getContext("webgl2");
      context?.getExtension("WEBGL_lose_context")?.loseContext();
      return Boolean(context);
    } catch {
      return false;
    }
  }

  function draw(stage) {
    const paper = getComputedStyle(document.body).backgroundColor;
    const view = $3Dmol.createViewer(stage.querySelector(".canvas"), { backgroundColor: paper, disableFog: true });
    const said = stage.parentElement.querySelector(".said");
    view.addModel(document.getElementById(stage.dataset.atoms).textContent, "pdb");
    view.setStyle({}, { cartoon: { colorfunc: colour, arrows: true } });
    view.setHoverable({}, true,
      (atom) => { said.textContent = `${atom.resn} ${atom.resi}, pLDDT ${atom.b.toFixed(1)}`; },
      () => { said.textContent = ""; });
    view.zoomTo();
    view.zoom(1.05);
    view.render();
    stage.addEventListener("keydown", (event) => {
      if (event.key in turns) {
        const [axis, degrees] = turns[event.key];
        view.rotate(degrees, axis);
        event.preventDefault();
      }
    });
    new ResizeObserver(() => view.resize()).observe(stage);
    stage.classList.add("drawn");
  }

  function activate(stage) {
    stage.classList.add("active");
  }

  function start(stages) {
    const inSight = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) {
          inSight.unobserve(target);
          draw(target);
        }
      }
    }, { rootMargin: "200px" });
    for (const stage of stages) {
      inSight.observe(stage);
      stage.addEventListener("click", () => activate(stage));
      stage.addEventListener("focusout", () => stage.classList.remove("active"));
      stage.addEventListener("keydown", (event) => {
        if (event.key === "Enter") activate(stage);
        if (event.key === "Escape") stage.classList.remove("active");
      });
    }
    document.addEventListener("pointerdown", (event) => {
      for (const stage of stages) if (!stage.contains(event.target)) stage.classList.remove("active");
    });
  }

  const stages = [...document.querySelectorAll(".stage")];
  if (hasWebGL()) start(stages);
  else for (const stage of stages) stage.classList.add("plain");
})();
