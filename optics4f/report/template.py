"""The page around the content: style, and the script that turns panels into tabs. Without it all panels are shown."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfb; --ink: #1c1e21; --faint: #5c6470; --line: #d5d9de;
  --stripe: #f1f3f5; --link: #0b5cad; --bar: #0b5cad; --spread: #9fbcd9; --empty: #9ba2ab; --on: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --ink: #e6e8eb; --faint: #a3acb8; --line: #3a4149; --stripe: #1e2329; --link: #82b8f5;
    --bar: #6aa7ec; --spread: #37567a; --empty: #4a515a; --on: #10151b; }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 0 1rem 4rem; max-width: 96rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
main:focus { outline: none; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: 1rem; padding: .5rem 1rem; background: var(--paper); z-index: 1; }
header { padding: 2rem 0 1rem; border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: clamp(1.5rem, 1.2rem + 1.6vw, 2.3rem); line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.35rem; line-height: 1.25; overflow-wrap: anywhere; }
h3, h4, h5 { margin: 1.25rem 0 .5rem; font-size: 1.05rem; line-height: 1.3; overflow-wrap: anywhere; }
p { max-width: 44rem; margin: .75rem 0; overflow-wrap: anywhere; }
.subtitle { margin: .4rem 0 0; color: var(--faint); font-size: 1.1rem; }
nav h2 { margin: 1.25rem 0 .4rem; font-size: 1rem; color: var(--faint); }
nav ol { margin: 0; padding-left: 1.5rem; }
nav li { padding: .2rem 0; overflow-wrap: anywhere; }
.scroll { margin: 1.25rem 0; overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .95rem; }
caption { text-align: left; color: var(--faint); padding-bottom: .4rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(60rem, calc(100vw - 2rem)); }
th, td { padding: .4rem .8rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--faint); vertical-align: bottom; }
thead td { border-bottom: 2px solid var(--faint); }
tbody th { font-weight: 500; }
tbody th:not(.number):not(.word) { min-width: 8rem; }
tbody tr:nth-child(even) { background: var(--stripe); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tbody .word { white-space: nowrap; }
.bars { width: 100%; max-width: 60rem; }
.bars td:nth-child(2) { width: 50%; min-width: 8rem; vertical-align: middle; }
.bars svg { display: block; width: 100%; height: .8rem; overflow: visible; }
.bars .value { fill: var(--bar); }
.bars .spread { fill: var(--spread); }
.bars line { stroke: var(--ink); stroke-width: 1.5px; vector-effect: non-scaling-stroke; }
.bars line.value { stroke: var(--bar); stroke-width: 4px; }
figure { margin: 1.5rem 0; }
figure .wide { overflow-x: auto; max-width: 100%; }
figure .wide img { display: block; max-width: 100%; height: auto; padding: .5rem; background: #fff;
  border-radius: .4rem; border: 1px solid var(--line); }
figcaption { max-width: 44rem; margin-top: .5rem; color: var(--faint); font-size: .95rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) minmax(0, 1fr); margin: 1rem 0;
  gap: .35rem 1.2rem; }
dt { color: var(--faint); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
pre { font-size: .85rem; line-height: 1.45; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--link); width: fit-content; max-width: 100%; }
[role=tablist] { display: flex; flex-wrap: wrap; gap: .35rem; margin: 1rem 0 .75rem; align-items: baseline; }
[role=tablist]::before { content: attr(aria-label); color: var(--faint); font-size: .95rem; margin-right: .4rem; }
[role=tab] { font: inherit; font-size: .95rem; color: var(--ink); background: var(--stripe); cursor: pointer;
  border: 1px solid var(--line); border-radius: .4rem; padding: .25rem .7rem; min-height: 2rem; }
[role=tab]:hover { border-color: var(--link); }
[role=tab][aria-selected=true] { background: var(--link); border-color: var(--link); color: var(--on); }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: 1.25rem 1.5rem;
  margin: 1rem 0; align-items: start; }
.panels.large { display: flex; flex-wrap: wrap; }
.plot { margin: 0; max-width: 28rem; }
.panels.large .plot { flex: 1 1 20rem; min-width: 0; }
.panels.keyed .axes { grid-template-columns: 2.9rem minmax(0, 1fr); }
.axes { display: grid; grid-template-columns: 2.9rem minmax(0, 1fr) 4.2rem; grid-template-rows: auto auto;
  gap: .25rem .4rem; font-size: .78rem; line-height: 1.2; color: var(--faint); font-variant-numeric: tabular-nums; }
.axes img.plane { display: block; width: 100%; height: auto; max-height: 75vh; image-rendering: pixelated;
  background: var(--empty); outline: 1px solid var(--line); }
.ticks { display: flex; justify-content: space-between; white-space: nowrap; }
.ticks.y { flex-direction: column; text-align: right; }
.ticks.x { grid-column: 2; }
.scale { position: relative; display: flex; padding-left: 1rem; }
.scale img { position: absolute; left: 0; top: 0; width: .7rem; height: 100%; outline: 1px solid var(--line); }
.scale .ticks { text-align: left; min-width: 2.6rem; }
.plot figcaption { font-size: .9rem; line-height: 1.35; margin: 0 0 .4rem; color: var(--ink); }
.plot figcaption small { color: var(--faint); font-size: .82rem; display: block; min-height: 1.35em; }
.wheel { position: relative; width: 12rem; margin: 0 auto; padding: 1.5rem 2rem; align-self: center; }
.panels.large .wheel { margin: 0 2rem; }
.wheel img { display: block; width: 100%; height: auto; }
.wheel span { position: absolute; font-size: .85rem; color: var(--faint); line-height: 1; }
.wheel .east { right: .9rem; top: calc(50% - .45rem); }
.wheel .north { top: .35rem; left: 0; right: 0; text-align: center; }
.wheel .west { left: .8rem; top: calc(50% - .45rem); }
.wheel .south { bottom: .2rem; left: 0; right: 0; text-align: center; }
@media (min-width: 70rem) {
  .columns { display: grid; grid-template-columns: 15rem minmax(0, 1fr); gap: 3rem; align-items: start; }
  nav { position: sticky; top: 0; max-height: 100vh; overflow-y: auto; }
}
@media (max-width: 40rem) { figure .wide img { max-width: 34rem; } }
@media (max-width: 30rem) { th, td { padding: .35rem .4rem; } .prose { min-width: 16rem; }
  td { min-width: 5rem; } td.number, td.word { min-width: 0; } thead .number { white-space: normal; }
  .bars td { min-width: 0; } .bars .number { white-space: normal; }
  .bars tbody .number { min-width: 9rem; }
  .bars td:nth-child(2) { min-width: 4rem; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: .5rem; } tbody th:not(.number):not(.word) { min-width: 6.5rem; } }
@media print { nav, .skip, [role=tablist] { display: none; } figure, tr { break-inside: avoid; }
  .scroll, .wide { overflow: visible; } .tabs > .panel, .tabs > .panel > :first-child { display: block !important; } }
"""

# Tabs as the ARIA authoring practices have them: arrows, Home and End move and select, Tab leaves the list. Lists of
# one group follow each other, so that a mask or a wavelength stays chosen from plane to plane.
SCRIPT = """
"use strict";
const groups = new Map();
document.querySelectorAll(".tabs").forEach((box, number) => {
  const panels = [...box.children];
  if (panels.length < 2) return;
  const list = document.createElement("div");
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", box.dataset.label);
  const tabs = panels.map((panel, index) => {
    const heading = panel.firstElementChild, tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${number}-${index}`;
    tab.textContent = heading.textContent;
    tab.setAttribute("role", "tab");
    panel.id = `panel-${number}-${index}`;
    tab.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    panel.tabIndex = 0;
    heading.hidden = true;
    list.append(tab);
    return tab;
  });
  const show = (chosen) => tabs.forEach((tab, index) => {
    tab.setAttribute("aria-selected", String(index === chosen));
    tab.tabIndex = index === chosen ? 0 : -1;
    panels[index].hidden = index !== chosen;
  });
  const group = box.dataset.group || `only ${number}`;
  groups.set(group, [...(groups.get(group) || []), (name) => {
    const found = tabs.findIndex((tab) => tab.textContent === name);
    if (found >= 0) show(found);
  }]);
  const choose = (index) => {
    const before = list.getBoundingClientRect().top;
    groups.get(group).forEach((follow) => follow(tabs[index].textContent));
    show(index);
    window.scrollBy(0, list.getBoundingClientRect().top - before);
  };
  list.addEventListener("click", (event) => {
    const index = tabs.indexOf(event.target);
    if (index >= 0) choose(index);
  });
  list.addEventListener("keydown", (event) => {
    const here = tabs.indexOf(event.target), last = tabs.length - 1;
    const next = { ArrowRight: here === last ? 0 : here + 1, ArrowLeft: here === 0 ? last : here - 1,
      Home: 0, End: last }[event.key];
    if (here < 0 || next === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    choose(next);
    tabs[next].focus();
  });
  box.prepend(list);
  show(0);
});
"""

PAGE = """<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header><h1>{title}</h1>{subtitle}</header>
<div class="{layout}">
{navigation}
<main id="content" tabindex="-1">
{lead}
{sections}
</main>
</div>
{script}</body>
</html>
"""
