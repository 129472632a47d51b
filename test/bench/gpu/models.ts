/** Chains of blocks for onnxruntime: one set of weights, the result of a block is the input of the next one. */
import type { FfnData } from '../data.ts';
import { type AttentionSizes, transpose } from '../onnx.ts';
import { type Bytes, contribNode, initializer, model, node } from '../onnx-format.ts';

/** ScatterND that adds came with opset 16. */
const OPSET = 16;

/** `x += (silu(x gate^T) * (x up^T)) down^T` for x [tokens, hidden], or, with `rows`, for those rows: Gather + FFN + ScatterND. */
export function ffnChain({ hidden, inner, gate, up, down }: FfnData, blocks: number, rows?: Uint32Array): Bytes {
  const block = (at: number): Bytes[] => {
    const name = (local: string) => `${local}${at}`;
    const [from, to] = [at === 0 ? 'x' : `x${at}`, at === blocks - 1 ? 'y' : `x${at + 1}`];
    const source = rows ? name('picked') : from;
    return [
      ...(rows ? [node('Gather', [from, 'rows'], source, { axis: 0 })] : []),
      node('MatMul', [source, 'gate'], name('g')),
      node('MatMul', [source, 'up'], name('u')),
      node('Sigmoid', [name('g')], name('s')),
      node('Mul', [name('g'), name('s')], name('a')),
      node('Mul', [name('a'), name('u')], name('h')),
      node('MatMul', [name('h'), 'down'], name('d')),
      rows ? node('ScatterND', [from, 'places', name('d')], to, { reduction: 'add' }) : node('Add', [from, name('d')], to),
    ];
  };
  const list = rows && BigInt64Array.from(rows, BigInt);
  return model({
    opset: OPSET,
    nodes: Array.from({ length: blocks }, (_, at) => block(at)).flat(),
    initializers: [
      initializer('gate', [hidden, inner], transpose(gate, inner, hidden)),
      initializer('up', [hidden, inner], transpose(up, inner, hidden)),
      initializer('down', [inner, hidden], transpose(down, hidden, inner)),
      ...(list ? [initializer('rows', [list.length], list), initializer('places', [list.length, 1], list)] : []),
    ],
    inputs: { x: ['tokens', hidden] },
    outputs: { y: ['tokens', hidden] },
  });
}

/**
 * Causal GroupQueryAttention of the last `queries` of `tokens` rows against all of them, q the result of the block before.
 * q, y [1, queries, heads * headDim]; the rows before them are its past, in its own layout.
 */
export function attentionChain({ tokens, heads, kvHeads, headDim }: AttentionSizes, queries: number, blocks: number): Bytes {
  const past = tokens - queries;
  const block = (at: number) => {
    const [q, y] = [at === 0 ? 'q' : `q${at}`, at === blocks - 1 ? 'y' : `q${at + 1}`];
    return contribNode(
      'GroupQueryAttention',
      [q, 'k', 'v', past ? 'pastK' : '', past ? 'pastV' : '', 'last', 'total'],
      [y, `pk${at}`, `pv${at}`],
      {
        num_heads: heads,
        kv_num_heads: kvHeads,
      },
    );
  };
  const width = [1, queries, kvHeads * headDim];
  const cache = [1, kvHeads, past, headDim];
  return model({
    nodes: Array.from({ length: blocks }, (_, at) => block(at)),
    initializers: [initializer('last', [1], Int32Array.of(tokens - 1)), initializer('total', [1], Int32Array.of(tokens))],
    inputs: { q: [1, queries, heads * headDim], k: width, v: width, ...(past && { pastK: cache, pastV: cache }) },
    outputs: { y: [1, queries, heads * headDim] },
  });
}
