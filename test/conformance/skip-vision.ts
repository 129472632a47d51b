/** The Skip-Vision cases. */
import { attentionScores, merge, summary, topKRows } from '../../src/ops/index.ts';
import type { CaseInputs } from './inputs.ts';
import type { CaseFunction } from './ops.ts';
import { SKIP_VISION_MODEL_CASES } from './skip-vision-model.ts';

export const SKIP_VISION_CASES: Readonly<Record<string, CaseFunction>> = {
  async skip_vision_select(inputs, attrs) {
    const [keys, heads, headDim] = inputs.shape('k') as [number, number, number];
    const scores = await attentionSums(inputs, keys, [keys, heads, headDim], attrs.scale as number);
    const patches = scores.slice(1);
    const retained = await bestPatches(inputs, patches, attrs.n_retained as number);
    const chosen = new Set(retained);
    const skipped = Uint32Array.from(patches.keys()).filter((patch) => !chosen.has(patch));
    return {
      scores: { data: patches, shape: [patches.length] },
      retained: { data: retained, shape: [retained.length] },
      skipped: { data: skipped, shape: [skipped.length] },
    };
  },

  async skip_vision_merge(inputs, attrs) {
    const [count, width] = inputs.shape('x') as [number, number];
    const y = inputs.empty(attrs.n_keep as number, width);
    const destinations = inputs.emptyList(attrs.n_keep as number);
    const assignment = inputs.emptyList(count);
    inputs.backend.run(merge, { x: inputs.tensor('x'), y, destinations, assignment }, {});
    return { y: await inputs.read(y), destinations: await inputs.read(destinations), assignment: await inputs.read(assignment) };
  },

  async skip_vision_summary(inputs, attrs) {
    const width = inputs.shape('tokens')[1]!;
    const y = inputs.empty(1, width);
    inputs.backend.run(
      summary,
      {
        tokens: inputs.tensor('tokens'),
        normWeight: inputs.tensor('norm.weight'),
        normBias: inputs.optional('norm.bias'),
        scoreWeight: inputs.tensor('score.weight'),
        y,
      },
      { eps: attrs.eps as number, scoreBias: attrs.score_bias as number },
    );
    return { summary: await inputs.read(y, [width]) };
  },

  ...SKIP_VISION_MODEL_CASES,
};

/** Probabilities that the CLS query gives to all keys, summed over heads. */
async function attentionSums(inputs: CaseInputs, keys: number, shape: readonly number[], scale: number): Promise<Float32Array> {
  const scores = inputs.empty(keys);
  const kPositions = inputs.backend.upload(Uint32Array.from({ length: keys }, (_, key) => key));
  const q = inputs.tensor('q', shape.slice(1));
  inputs.backend.run(
    attentionScores,
    { q, k: inputs.tensor('k', shape), kPositions, scores },
    { qPosition: 0, causal: false, scale, reduce: 'sum' },
  );
  const { data } = await inputs.read(scores);
  kPositions.dispose();
  return data as Float32Array;
}

async function bestPatches(inputs: CaseInputs, scores: Float32Array, k: number): Promise<Uint32Array> {
  const rows = inputs.emptyList(k);
  inputs.backend.run(topKRows, { scores: inputs.upload(scores, [scores.length]), rows }, { k });
  return (await inputs.read(rows)).data as Uint32Array;
}
