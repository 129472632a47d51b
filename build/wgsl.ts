/** WGSL as the package ships it: without comments and needless whitespace. Lines stay lines, as a driver's messages name them. */

const COMMENTS = /\/\/.*|\/\*[\s\S]*?\*\//g;
const BRACKETS = / *([(){}[\],;:]) */g;
/** Between names, numbers and brackets. Where two operators meet, as in `a - -b`, the whitespace tells them apart. */
const OPERATORS = /(?<=[\w)\]]) *([-+*/%&|^<>=!]+) *(?=[\w(])/g;

/** The same tokens in fewer bytes. WGSL has no string literals to spare. */
export function minifyWgsl(source: string): string {
  const lines = source.replace(COMMENTS, ' ').split('\n');
  return lines.map(minifyLine).filter(Boolean).join('\n');
}

function minifyLine(line: string): string {
  return line.replace(/\s+/g, ' ').replace(BRACKETS, '$1').replace(OPERATORS, '$1').trim();
}
