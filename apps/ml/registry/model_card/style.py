"""The style of an exported model card: it is written into the file, so that the file stands alone."""

STYLE = """\
:root { color-scheme: light dark; --line: #d5d9e0; --quiet: #5b6472; }
@media (prefers-color-scheme: dark) { :root { --line: #3a404b; --quiet: #a3adbd; } }
body { font: 16px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
.lead { color: var(--quiet); overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: minmax(8rem, auto) 1fr; gap: .3rem 1rem; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
tbody th { font-weight: 500; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; font-size: .85rem; }
@media print { main { max-width: none; } pre, tr { break-inside: avoid; } }
"""
