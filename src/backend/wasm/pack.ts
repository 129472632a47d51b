/** Packs weights into panels (see WasmWeight), a slice of rows at a time. */
import type { Pause } from '../backend.ts';
import type { MatrixReader } from '../quantize.ts';
import type { WeightDType } from '../weight.ts';
import { FORM, type Form, RAISED, SPECIAL, type WasmKernels, type WasmWeight } from './binding.ts';
import { type LinearMemory, staged } from './memory.ts';
import type { Packer, Slot, Target } from './pack-quantized.ts';

/** Rows are packed in slices of about this many bytes of f32; the thread is given back between slices. */
const SLICE_BYTES = 1 << 20;
/** Lanes of a panel, and of the half that a part of a gate and up pair fills. */
const LANES = 8;
const HALF = 4;
/** Bits of the smallest f16 that is not finite. */
const F16_INFINITY = 0x7c00;

/** `linearMemory` throws if the backend was disposed while a packer was loaded; `pause` does after that. */
export async function packWeight(
  linearMemory: () => LinearMemory,
  kernels: WasmKernels,
  matrices: readonly MatrixReader[],
  dtype: WeightDType,
  pause: Pause,
): Promise<{ handle: WasmWeight; bytes: number }> {
  const [N, K] = matrices[0]!.shape;
  const parts = matrices.length as 1 | 2;
  const form: Form = dtype === 'q4' && matrices.some(({ hasZeros }) => hasZeros) ? FORM.q4Zeros : FORM[dtype];
  let largest = 0;
  const packRows = await packerOf(form);
  const memory = linearMemory();
  const panelBytes = kernels.panel_bytes(form, K);
  const bytes = Math.ceil((N * parts) / LANES) * panelBytes;
  const pointer = memory.allocate(bytes);
  const perPart = LANES / parts;
  const step = Math.max(LANES, Math.floor(SLICE_BYTES / (Math.max(K, 1) * 4) / LANES) * LANES);
  // The last panel starts as zeros, for its lanes without an output; all panels do when K is 0, as no row is packed then.
  const empty = K ? Math.min(bytes, panelBytes) : bytes;
  memory.bytes(pointer + bytes - empty, empty).fill(0);
  try {
    for (const [part, matrix] of matrices.entries()) {
      const slot = (row: number): Slot => ({
        panel: pointer + Math.floor(row / perPart) * panelBytes,
        lane: part * HALF + (row % perPart),
      });
      for (let first = 0; first < N && K; first += step) {
        const count = Math.min(step, N - first);
        largest = Math.max(largest, packRows({ memory, kernels, form, panelBytes, slot }, matrix, first, count));
        if (first + count < N || part + 1 < parts) await pause(count);
      }
    }
    const special = largest >= F16_INFINITY;
    const raised = special || !largest ? 0 : 30 - (largest >> 10);
    // See RAISED in assembly/weight-form.ts. At the end, as all of a weight are raised by the same.
    const [block, numbers] = form === FORM.f16 ? [panelBytes, panelBytes / 2] : [kernels.nibble_bytes(form), LANES];
    const slice = Math.max(1, Math.floor(SLICE_BYTES / panelBytes)) * panelBytes;
    for (let at = 0; raised && at < bytes; at += slice) {
      if (at) await pause(0);
      kernels.raise_f16(pointer + at, Math.min(slice, bytes - at) / block, block, numbers, raised);
    }
    return { handle: { pointer, parts, form, productForm: form + (special ? SPECIAL : 0) + (raised << RAISED) }, bytes };
  } catch (error) {
    memory.free(pointer);
    throw error;
  }
}

/** Few ask for quantized weights. */
async function packerOf(form: Form): Promise<Packer> {
  if (form === FORM.f32) return packF32;
  if (form === FORM.f16) return packF16;
  const { packQ4, packQ8 } = await import('./pack-quantized.ts');
  return form === FORM.q8 ? packQ8 : packQ4;
}

/** Four rows, half a panel, at a time: `first` and the slices are multiples of that. */
function packF32({ memory, kernels, slot }: Target, matrix: MatrixReader, first: number, count: number): number {
  const K = matrix.shape[1];
  staged(memory, matrix.rows(first, count), (staging) => {
    for (let row = 0; row < count; row += HALF) {
      const { panel, lane } = slot(first + row);
      kernels.pack_half_panel_f32(panel + lane * 4, staging + row * K * 4, Math.min(HALF, count - row), K);
    }
  });
  return 0;
}

function packF16({ memory, kernels, slot }: Target, matrix: MatrixReader, first: number, count: number): number {
  const K = matrix.shape[1];
  let largest = 0;
  staged(memory, matrix.rows(first, count), (staging) => {
    for (let row = 0; row < count; row++) {
      const { panel, lane } = slot(first + row);
      largest = Math.max(largest, kernels.pack_lane_f16(panel + lane * 2, staging + row * K * 4, K));
    }
  });
  return largest;
}
