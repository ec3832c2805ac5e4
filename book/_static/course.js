// The widgets' scripts speak to MathJax 2; the book has MathJax 3, on pages with formulas. This hands their requests on.
if (window.MathJax) {
  MathJax.Hub = { Queue: ([, , element]) => MathJax.typesetPromise([element]) };
}
