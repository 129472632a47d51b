/** The tiles of attention that the sizes of the op table are too small for, against the reference backend. */
import { describe, expect, test } from 'vitest';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { createWebGpuBackend } from '../../src/backend/webgpu/driver.ts';
import { attention } from '../../src/ops/attention.ts';
import { installedAdapters, nodeGpu } from '../gpu.ts';
import { f32, storedAsF16 } from '../operands.ts';
import { compareRow } from '../suites/ops.ts';
import { attentionOperands } from '../table/attention.ts';
import type { OpRow } from '../table/row.ts';

/** `down`: invocations down of a tile, by the number of workgroups that there are. */
const SIZES = [
  { down: 8, T: 65, dh: 80 },
  { down: 16, T: 131, dh: 8 },
].map((size) => ({ ...size, S: 70, spare: 1, Hkv: 2, group: 32 }));

describe.each(installedAdapters())('attention by large tiles on %s', (adapter) => {
  test.each(SIZES)('$T rows of 64 heads of $dh: $down invocations down', async ({ down, ...sizes }) => {
    await using reference = createReferenceBackend();
    await using backend = await createWebGpuBackend({ gpu: await nodeGpu(adapter) });
    const used = new Set<number | undefined>();
    const op: typeof attention = {
      ...attention,
      webgpu: (gpu, ...call) => {
        const dispatch: typeof gpu.dispatch = (kernel, operands, params, workgroups, constants) => {
          used.add(constants?.NY);
          gpu.dispatch(kernel, operands, params, workgroups, constants);
        };
        attention.webgpu({ ...gpu, dispatch }, ...call);
      },
    };
    const row: OpRow = {
      op,
      *cases(random) {
        const values = attentionOperands(random, sizes);
        const sums = sizes.dh + sizes.S;
        const scale = sizes.dh ** -0.5;
        yield { title: 'causal', values, attrs: { scale, causal: true }, sums };
        yield { title: 'f16', values: storedAsF16(values), attrs: { scale, causal: false }, sums };
        const keyBias = f32(random.normal(sizes.S), sizes.S);
        yield {
          title: 'bias and hidden keys',
          values: { ...values, keyBias },
          attrs: { scale, causal: true, hiddenKeys: [[9, 90, 100]] },
          sums,
        };
      },
    };
    await compareRow(row, backend, reference);
    expect([...used]).toEqual([down]);
  });
});
