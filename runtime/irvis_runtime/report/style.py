"""The look of a report: one style sheet, light and dark, screen, phone and paper."""

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d8dee4;--wash:#f6f8fa;
--accent:#b6410f;--context:#0f766e;--other:#64748b;--win:#1a7f37;--loss:#b42318;--limit:#8a6100}
@media (prefers-color-scheme:dark){:root{--paper:#0f1216;--ink:#e6e9ee;--soft:#9aa4b0;--line:#2b323b;
--wash:#171b21;
--accent:#f08a4b;--context:#3fbfb0;--other:#8a97a8;--win:#4cc26b;--loss:#ff7b72;--limit:#d9a521}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Inter,"Noto Sans",sans-serif;font-variant-numeric:tabular-nums;
-webkit-text-size-adjust:100%}
main{max-width:76rem;margin:0 auto;padding:2.5rem 1.5rem 4rem}
h1{font-size:2rem;line-height:1.15;letter-spacing:-.02em;margin:0 0 .4rem}
h2{font-size:1.45rem;letter-spacing:-.01em;margin:3.2rem 0 .2rem;padding-top:1.4rem;
border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:2.2rem 0 .6rem}
p{margin:.4rem 0;max-width:46rem}
.lead,.soft,.notes,figcaption,.legend{color:var(--soft)}
.notes{font-size:.85rem;margin:.5rem 0 0;padding:0;list-style:none;max-width:56rem}.notes li{margin:.2rem 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem;margin:1.4rem 0}
.card{border:1px solid var(--line);border-radius:.6rem;padding:.9rem 1rem;background:var(--wash)}
.card b{display:block;font-size:1.65rem;line-height:1.2;letter-spacing:-.02em;font-weight:650}
.card span{display:block;font-size:.85rem;color:var(--soft)}
.findings{display:grid;grid-template-columns:repeat(auto-fit,minmax(19rem,1fr));gap:.3rem 2rem}
.findings h3{margin:1rem 0 .3rem}
.findings ul{margin:0;padding-left:1.1rem}.findings li{margin:.3rem 0;overflow-wrap:anywhere}
.wins h3{color:var(--win)}.losses h3{color:var(--loss)}.limits h3{color:var(--limit)}
.scroll{overflow-x:auto;margin:.4rem 0}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{padding:.42rem .7rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th{font-weight:600;color:var(--soft);font-size:.8rem;line-height:1.3;vertical-align:bottom}
td:first-child,th:first-child,.text{text-align:left}td:first-child{padding-left:0}
th:first-child{padding-left:0}
.name{font-weight:600;text-align:left;min-width:8.5rem}.best{font-weight:700;color:var(--accent)}.missing{color:var(--soft)}
td.number,td.best{white-space:nowrap}td.missing{font-size:.82rem}
.facts td{text-align:left;overflow-wrap:anywhere}.facts td:first-child{color:var(--soft);width:14rem;
font-weight:400}
.chart{display:grid;grid-template-columns:max-content minmax(6rem,1fr) max-content;gap:.35rem .9rem;
align-items:center}
.bar-name{font-weight:600}.bar svg{display:block;width:100%;height:1.35rem;background:var(--wash);
border-radius:.2rem}
.bar-value{white-space:nowrap}.bar-value small,.legend{font-size:.85rem;color:var(--soft)}
.stage-context{fill:var(--context);background:var(--context)}.stage-fuse{fill:var(--accent);
background:var(--accent)}
.stage-total,.stage-other{fill:var(--other);background:var(--other)}.tail{fill:var(--soft);
background:var(--soft)}
.key{display:inline-block;width:.75em;height:.75em;border-radius:.15em;margin-left:.8em}
.key:first-child{margin-left:0}
.key.tail{height:2px;vertical-align:middle}.legend{white-space:pre-wrap}
.set{margin:1.6rem 0 2.4rem}.set h4{margin:0 0 .1rem;font-size:1rem;overflow-wrap:anywhere}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(45%,17rem),1fr));gap:.9rem;
margin-top:.6rem}
figure{margin:0}figure img{display:block;width:100%;height:auto;border-radius:.35rem;background:var(--wash)}
figcaption{font-size:.85rem;margin-top:.25rem}figcaption b{color:var(--ink)}
.absent{border:1px dashed var(--line);border-radius:.35rem;padding:2rem 1rem;color:var(--soft);
font-size:.85rem}
pre{background:var(--wash);border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem;
overflow-x:auto;
font:.85rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
white-space:pre-wrap;
overflow-wrap:anywhere}
nav ul{list-style:none;padding:0;margin:.8rem 0;display:flex;flex-wrap:wrap;gap:.3rem 1.4rem}
a{color:var(--accent)}
footer{margin-top:3.5rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);
font-size:.85rem}
@media (max-width:40rem){main{padding:1.4rem 1rem 3rem}h1{font-size:1.6rem}
.chart{grid-template-columns:1fr max-content}.bar{grid-column:1/-1;grid-row:auto;order:0;
margin-bottom:.5rem}
.chart .bar-name{grid-column:1}.facts td:first-child{width:8rem}th,td{padding:.4rem .5rem}}
@media print{:root{--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--wash:#f4f4f4;--accent:#8f330c;
--context:#0b5c55;
--other:#555;--win:#14602a;--loss:#8f1c13;--limit:#6b4b00}
body{font-size:10pt}main{max-width:none;padding:0}.scroll{overflow:visible}table{font-size:7.5pt}
th,td{padding:.25rem .3rem}th{font-size:7pt}h2{break-before:auto}h1,h2,h3,h4{break-after:avoid}
figure,tr,.card,.chart,.set h4{break-inside:avoid}.grid{grid-template-columns:repeat(4,1fr);gap:.5rem}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""
