/** Packs weights into panels (see WasmWeight), a slice of rows at a time. */
import type { Pause } from '../backend.ts';
import { BLOCK, blocksOf, quantizeQ8 } from '../quantize.ts';
import type { WeightDType } from '../weight.ts';
import type { MatrixReader } from '../weight-source.ts';
import { FORM, type Form, type WasmKernels, type WasmWeight } from './binding.ts';
import type { LinearMemory } from './memory.ts';

/** Rows are packed in slices of about this many bytes of f32; the thread is given back between slices. */
const SLICE_BYTES = 1 << 20;
/** Lanes of a panel, and of the half that a part of a gate and up pair fills. */
const LANES = 8;
const HALF = 4;
/** Bits of the smallest f16 that is not finite. */
const F16_INFINITY = 0x7c00;

/** Where a row of a matrix goes. */
interface Slot {
  panel: number;
  lane: number;
}

/** What a slice is packed with. `memory` throws once the backend is disposed, and must be asked anew after every pause. */
interface Target {
  memory: LinearMemory;
  kernels: WasmKernels;
  form: Form;
  panelBytes: number;
  slot(row: number): Slot;
}

export async function packWeight(
  live: () => LinearMemory,
  kernels: WasmKernels,
  matrices: readonly MatrixReader[],
  dtype: WeightDType,
  pause: Pause,
): Promise<{ handle: WasmWeight; bytes: number }> {
  const [N, K] = matrices[0]!.shape;
  const parts = matrices.length as 1 | 2;
  const form: Form = dtype === 'q4' && matrices.some(({ hasZeros }) => hasZeros) ? FORM.q4Zeros : FORM[dtype];
  let largest = 0;
  const panelBytes = kernels.panel_bytes!(form, K);
  const bytes = Math.ceil((N * parts) / LANES) * panelBytes;
  const pointer = live().allocate(bytes);
  const perPart = LANES / parts;
  const step = Math.max(LANES, Math.floor(SLICE_BYTES / (Math.max(K, 1) * 4) / LANES) * LANES);
  // Lanes without an output; and what no row of a matrix without columns will write.
  const empty = K ? Math.min(bytes, panelBytes) : bytes;
  kernels.fill_f32!(pointer + bytes - empty, empty / 4, 0);
  try {
    for (const [part, matrix] of matrices.entries()) {
      const slot = (row: number): Slot => ({
        panel: pointer + Math.floor(row / perPart) * panelBytes,
        lane: part * HALF + (row % perPart),
      });
      for (let first = 0; first < N && K; first += step) {
        const count = Math.min(step, N - first);
        largest = Math.max(largest, packSlice({ memory: live(), kernels, form, panelBytes, slot }, matrix, first, count));
        if (first + count < N || part + 1 < parts) await pause(count);
      }
    }
    const special = largest >= F16_INFINITY;
    const raised = special || !largest ? 0 : 30 - (largest >> 10);
    if (raised) await raiseF16(live, kernels, { form, pointer, bytes, panelBytes }, raised, pause);
    return { handle: { pointer, parts, form, special, raised }, bytes };
  } catch (error) {
    release(live, pointer);
    throw error;
  }
}

/** See RAISED in assembly/weight-form.ts. Done at the end, as all of a weight are raised by the same. */
async function raiseF16(
  live: () => LinearMemory,
  kernels: WasmKernels,
  { form, pointer, bytes, panelBytes }: { form: Form; pointer: number; bytes: number; panelBytes: number },
  by: number,
  pause: Pause,
): Promise<void> {
  const block = form === FORM.f16 ? panelBytes : kernels.nibble_bytes!(form);
  const step = Math.max(1, Math.floor(SLICE_BYTES / panelBytes)) * panelBytes;
  for (let at = 0; at < bytes; at += step) {
    if (at) await pause(0);
    live();
    kernels.raise_f16!(pointer + at, Math.min(step, bytes - at) / block, block, form === FORM.f16 ? panelBytes / 2 : LANES, by);
  }
}

/** After dispose the memory is gone as a whole. */
function release(live: () => LinearMemory, pointer: number): void {
  let memory: LinearMemory;
  try {
    memory = live();
  } catch {
    return;
  }
  memory.free(pointer);
}

/** Packs rows [first, first + count). Returns the bits of the largest f16 among them, without its sign. */
function packSlice(target: Target, matrix: MatrixReader, first: number, count: number): number {
  const { form } = target;
  if (form === FORM.f16) return packF16(target, matrix, first, count);
  if (form >= FORM.q4) return packQ4(target, matrix, first, count);
  if (form === FORM.q8) packQ8(target, matrix, first, count);
  else packF32(target, matrix, first, count);
  return 0;
}

/** Four rows, half a panel, at a time: `first` and the slices are multiples of that. */
function packF32({ memory, kernels, slot }: Target, matrix: MatrixReader, first: number, count: number): void {
  const K = matrix.shape[1];
  staged(memory, matrix.rows(first, count), (staging) => {
    for (let row = 0; row < count; row += HALF) {
      const { panel, lane } = slot(first + row);
      kernels.pack_half_panel_f32!(panel + lane * 4, staging + row * K * 4, Math.min(HALF, count - row), K);
    }
  });
}

function packF16({ memory, kernels, slot }: Target, matrix: MatrixReader, first: number, count: number): number {
  const K = matrix.shape[1];
  let largest = 0;
  staged(memory, matrix.rows(first, count), (staging) => {
    for (let row = 0; row < count; row++) {
      const { panel, lane } = slot(first + row);
      largest = Math.max(largest, kernels.pack_lane_f16!(panel + lane * 2, staging + row * K * 4, K));
    }
  });
  return largest;
}

function packQ8({ memory, kernels, slot }: Target, matrix: MatrixReader, first: number, count: number): void {
  const K = matrix.shape[1];
  const columns = blocksOf(K) * BLOCK;
  const levels = kernels.q8_levels!() as 63 | 127;
  const { codes, scales } = quantizeQ8(matrix.rows(first, count), count, K, levels);
  // 7-bit codes have their zero at 64.
  if (levels === 63) for (let i = 0; i < codes.length; i++) codes[i]! += 64;
  staged(memory, codes, (staging) => {
    for (let row = 0; row < count; row++) {
      const { panel, lane } = slot(first + row);
      kernels.pack_lane_q8!(panel, lane, staging + row * columns, columns, scales[row]!);
    }
  });
}

function packQ4({ memory, kernels, form, panelBytes, slot }: Target, matrix: MatrixReader, first: number, count: number): number {
  let largest = 0;
  const blocks = blocksOf(matrix.shape[1]);
  const { codes, scales, zeros } = matrix.q4(first, count);
  staged(memory, codes, (staging) =>
    staged(memory, scales, (scaleAt) =>
      staged(memory, zeros, (zeroAt) => {
        for (let row = 0; row < count; row++) {
          const { panel, lane } = slot(first + row);
          const at = row * blocks;
          // Nibbles are put into their bytes one lane after the other.
          if (lane === 0) kernels.fill_f32!(panel, panelBytes / 4, 0);
          const scale = kernels.pack_lane_q4!(panel, lane, staging + at * BLOCK, blocks * BLOCK, scaleAt + 2 * at, zeroAt + at, form);
          largest = Math.max(largest, scale);
        }
      }),
    ),
  );
  return largest;
}

/** Runs `use` with a copy of `data` in linear memory. */
function staged(memory: LinearMemory, data: Float32Array | Int8Array | Uint8Array | Uint16Array, use: (pointer: number) => void): void {
  const pointer = memory.allocate(data.byteLength);
  try {
    memory.bytes(pointer, data.byteLength).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    use(pointer);
  } finally {
    memory.free(pointer);
  }
}
