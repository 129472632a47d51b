/** How each op of the conformance cases is computed with this package. */
import {
  type Activation,
  attention,
  attentionScores,
  compactKv,
  gatheredFfn,
  type HiddenKeys,
  layerNorm,
  linear,
  rmsNorm,
  rope,
  ropeTables,
  topKCount,
  topKRows,
} from '../../src/ops/index.ts';
import type { Arrays } from './case.ts';
import type { CaseInputs } from './inputs.ts';
import { FASTV_CASES } from './fastv.ts';
import { SKIP_VISION_CASES } from './skip-vision.ts';

export type Attrs = Readonly<Record<string, unknown>>;
export type CaseFunction = (inputs: CaseInputs, attrs: Attrs) => Promise<Arrays>;

const CORE_CASES: Readonly<Record<string, CaseFunction>> = {
  async rms_norm(inputs, attrs) {
    const x = inputs.tensor('x');
    const y = inputs.empty(...x.shape);
    inputs.backend.run(rmsNorm, { x, weight: inputs.tensor('weight'), y }, { eps: attrs.eps as number });
    return { y: await inputs.read(y) };
  },

  async layer_norm(inputs, attrs) {
    const x = inputs.tensor('x');
    const y = inputs.empty(...x.shape);
    inputs.backend.run(layerNorm, { x, weight: inputs.tensor('weight'), bias: inputs.optional('bias'), y }, { eps: attrs.eps as number });
    return { y: await inputs.read(y) };
  },

  async linear(inputs) {
    const y = inputs.empty(inputs.shape('x')[0]!, inputs.shape('weight')[0]!);
    inputs.backend.run(linear, { x: inputs.tensor('x'), weight: await inputs.weight('weight'), bias: inputs.optional('bias'), y }, {});
    return { y: await inputs.read(y) };
  },

  async gathered_ffn(inputs, attrs) {
    const x = inputs.tensor('x');
    const up = attrs.gated ? await inputs.gatedWeight('gate_proj.weight', 'up_proj.weight') : await inputs.weight('up_proj.weight');
    inputs.backend.run(
      gatheredFfn,
      {
        x,
        rows: inputs.list('rows'),
        normWeight: inputs.optional('norm.weight'),
        normBias: inputs.optional('norm.bias'),
        up,
        gateBias: inputs.optional('gate_proj.bias'),
        upBias: inputs.optional('up_proj.bias'),
        down: await inputs.weight('down_proj.weight'),
        downBias: inputs.optional('down_proj.bias'),
        rowGate: inputs.optional('row_gate'),
      },
      { activation: attrs.activation as Activation, norm: attrs.norm as 'rms' | 'layer' | 'none', eps: attrs.eps as number },
    );
    return { y: await inputs.read(x) };
  },

  async rope(inputs, attrs) {
    const x = inputs.tensor('x');
    const [T, , headDim] = x.shape as [number, number, number];
    const tables = ropeTables(inputs.u32('positions'), headDim, attrs.theta as number);
    const table = (data: Float32Array) => inputs.upload(data, [T, headDim / 2]);
    inputs.backend.run(rope, { x, cos: table(tables.cos), sin: table(tables.sin) }, { layout: attrs.layout as 'neox' | 'interleaved' });
    return { y: await inputs.read(x) };
  },

  async attention(inputs, attrs) {
    const q = inputs.tensor('q');
    const o = inputs.empty(...q.shape);
    inputs.backend.run(
      attention,
      {
        q,
        k: inputs.tensor('k'),
        v: inputs.tensor('v'),
        qPositions: inputs.list('q_positions'),
        kPositions: inputs.list('k_positions'),
        keyBias: inputs.optional('key_bias'),
        o,
      },
      { scale: attrs.scale as number, causal: attrs.causal as boolean, hiddenKeys: attrs.hidden_keys as readonly HiddenKeys[] | undefined },
    );
    return { o: await inputs.read(o) };
  },

  async attention_scores(inputs, attrs) {
    const scores = inputs.empty(inputs.shape('k')[0]!);
    inputs.backend.run(
      attentionScores,
      {
        q: inputs.tensor('q'),
        k: inputs.tensor('k'),
        kPositions: inputs.list('k_positions'),
        keyBias: inputs.optional('key_bias'),
        scores,
      },
      {
        qPosition: attrs.q_position as number,
        causal: attrs.causal as boolean,
        scale: attrs.scale as number,
        reduce: attrs.reduce as 'mean' | 'sum',
      },
    );
    return { scores: await inputs.read(scores) };
  },

  async compact_kv(inputs) {
    const [heads, , width] = inputs.shape('k') as [number, number, number];
    const keep = inputs.u32('keep');
    const kOut = inputs.empty(heads, keep.length, width);
    const vOut = inputs.empty(heads, keep.length, width);
    inputs.backend.run(compactKv, { k: inputs.tensor('k'), v: inputs.tensor('v'), keep: inputs.list('keep'), kOut, vOut }, {});
    const positions = inputs.u32('positions');
    return {
      k: await inputs.read(kOut),
      v: await inputs.read(vOut),
      positions: { data: keep.map((row) => positions[row]!), shape: [keep.length] },
    };
  },

  async top_k_rows(inputs, attrs) {
    const alwaysKeep = attrs.always_keep as readonly (readonly [number, number])[];
    const k = attrs.k as number;
    const rows = inputs.emptyList(topKCount(k, alwaysKeep));
    inputs.backend.run(topKRows, { scores: inputs.tensor('scores'), rows }, { k, alwaysKeep });
    return { rows: await inputs.read(rows) };
  },
};

export const CASES: Readonly<Record<string, CaseFunction>> = { ...CORE_CASES, ...SKIP_VISION_CASES, ...FASTV_CASES };
