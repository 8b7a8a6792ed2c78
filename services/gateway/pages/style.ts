/** The style sheet of the pages: system fonts, light and dark, from 320 pixels up. */

export const styleSheet = `
:root { color-scheme: light dark;
  --ground: light-dark(#f6f5f1, #14161a); --card: light-dark(#ffffff, #1c1f25);
  --text: light-dark(#1b1e24, #eceae4); --quiet: light-dark(#5b6069, #a5abb6);
  --line: light-dark(#dcdad2, #343943); --accent: light-dark(#0b5f4a, #5fd0ae);
  --on-accent: light-dark(#ffffff, #08251d); --warn: light-dark(#7a4b00, #f0c274);
  --warn-ground: light-dark(#fdf3dd, #332a17); }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; background: var(--ground); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header { max-width: 34rem; margin: 0 auto; padding: 1.5rem 1rem 0; }
.brand { display: inline-flex; align-items: center; gap: .6rem; color: var(--text);
  font-weight: 650; text-decoration: none; }
.mark { width: 1rem; height: 1rem; border-radius: .3rem; background: var(--accent);
  box-shadow: .35rem .35rem 0 -.1rem var(--line); }
main { max-width: 34rem; margin: 1rem auto 3rem; padding: 1.5rem 1.25rem;
  background: var(--card); border: 1px solid var(--line); border-radius: .9rem; }
@media (max-width: 36rem) { main { margin: 1rem .75rem 2rem; } }
h1 { margin: 0 0 .75rem; font-size: 1.45rem; line-height: 1.25; text-wrap: balance; }
h2 { margin: 1.5rem 0 .5rem; font-size: 1rem; }
p { margin: 0 0 1rem; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); font-size: .92rem; }
dl { margin: 1rem 0; border-top: 1px solid var(--line); }
dl div { padding: .7rem 0; border-bottom: 1px solid var(--line); }
dt { color: var(--quiet); font-size: .85rem; }
dd { margin: .1rem 0 0; overflow-wrap: anywhere; }
ul { margin: .2rem 0 0; padding-left: 1.2rem; }
code { font: .92em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.note { padding: .75rem .9rem; border-radius: .6rem; background: var(--warn-ground);
  color: var(--warn); }
label { display: block; margin-bottom: .35rem; font-weight: 600; }
input[type=email] { width: 100%; min-height: 2.9rem; padding: .5rem .75rem; font: inherit;
  color: inherit; background: var(--ground); border: 1px solid var(--quiet); border-radius: .6rem; }
.actions { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; }
main > :last-child { margin-bottom: 0; }
button, .button { display: inline-flex; align-items: center; justify-content: center;
  min-height: 2.9rem; padding: .5rem 1.3rem; font: inherit; font-weight: 600; cursor: pointer;
  color: var(--on-accent); background: var(--accent); border: 1px solid var(--accent);
  border-radius: .6rem; text-decoration: none; }
button.second { color: var(--text); background: transparent; border-color: var(--quiet); }
button.link { min-height: 0; padding: 0; color: var(--accent); background: none; border: 0;
  font-weight: 400; text-decoration: underline; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
form.inline { display: inline; }
`
