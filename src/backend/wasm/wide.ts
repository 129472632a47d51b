/**
 * 256-bit vectors in V8: an experimental pass of its optimising compiler joins neighbouring 128-bit operations into one. No
 * instruction asks for it, a flag of the process does, which can be set while it runs (Node). So the flag is on only while a
 * copy of the kernels of its own is compiled and warmed up; what that copy computes is compared with the plain one to the bit.
 */
import { yieldToOthers } from '../yield.ts';
import { FORM, WIDE, type WasmKernels } from './binding.ts';
import type { LinearMemory } from './memory.ts';
import { race } from './race.ts';

const FLAG = 'experimental-wasm-revectorize';
/** Rounds of 1 ms, after which the plain tile is optimised. */
const WARM_UP = { least: 20, most: 20 };
/** Rounds of some 2 ms: enough for the optimising compiler to be done, and as many as it may take where it gets no core. */
const ROUNDS = { least: 10, most: 60 };
/** With joined vectors the wide tile is nearly twice as fast as the plain one, without it is slower. */
const GAIN = 1.3;
const COMPARISONS = 200;

interface NodeV8 {
  setFlagsFromString(flag: string): void;
}
interface Host {
  Deno?: object;
  Bun?: object;
  process?: { getBuiltinModule?(name: 'node:v8'): NodeV8; execArgv?: readonly string[] };
}

export interface Instance {
  kernels: WasmKernels;
  module: WebAssembly.Module;
}

/** The kernels with wide tiles that work and bring something, or the reason why there are none. */
export async function widen(
  bytes: Uint8Array<ArrayBuffer>,
  imports: WebAssembly.Imports,
  linear: LinearMemory,
  plain: WasmKernels,
): Promise<Instance | string> {
  const { Deno, Bun, process } = globalThis as Host;
  const v8 = Deno || Bun ? undefined : process?.getBuiltinModule?.('node:v8');
  if (!v8) return 'only Node can set the flag of V8 that it needs';
  const wasSet = process?.execArgv?.some((argument) => argument.replaceAll('_', '-') === `--${FLAG}`);
  const plainTile = { kernels: plain, group: 6 } as const;
  // Optimised under the flag, the plain tile would be another one too, and in every backend: V8 shares the code of modules of the same bytes.
  await race(linear, [plainTile], WARM_UP, () => true);
  v8.setFlagsFromString(`--${FLAG}`);
  try {
    const { instance, module } = await WebAssembly.instantiate(distinct(bytes), imports);
    const wide = { kernels: instance.exports as unknown as WasmKernels, module };
    const gains = ([before, after]: readonly number[]) => after! > before! * GAIN;
    const wideTile = { kernels: wide.kernels, form: FORM.f32 + WIDE, group: 6 } as const;
    const rates = await race(linear, [plainTile, wideTile], ROUNDS, gains);
    if (!gains(rates)) return 'it is no faster here';
    return (await computesSame(wide.kernels, plain, linear)) ? wide : 'it computes other results here';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    if (!wasSet) v8.setFlagsFromString(`--no-${FLAG}`);
  }
}

/** The same binary with an empty custom section at its end: V8 shares compiled code between modules of the same bytes. */
function distinct(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const section = [0, 5, 4, ...new TextEncoder().encode('wide')];
  const copy = new Uint8Array(bytes.length + section.length);
  copy.set(bytes);
  copy.set(section, bytes.length);
  return copy;
}

/**
 * Both products on numbers with every bit in use, with groups, a rest of rows, and panels to the end of an odd one. Often, as the
 * engine still optimises: what it does after the flag is off is plain again.
 */
async function computesSame(wide: WasmKernels, plain: WasmKernels, linear: LinearMemory): Promise<boolean> {
  const [rows, padded, K, lanes, group] = [17, 18, 61, 72, 6];
  const results = (rows + padded) * lanes;
  const tile = plain.matmul_scratch_bytes(FORM.f32, K);
  const pointer = linear.allocate(tile + (padded * K + lanes * K + results) * 4);
  const a = pointer + tile;
  const b = a + padded * K * 4;
  const y = b + lanes * K * 4;
  const inner = y + rows * lanes * 4;
  const run = (kernels: WasmKernels, form: number) => {
    linear.u32(y, results).fill(0);
    kernels.matmul(form, pointer, a, K * group * 4, rows, group, K, b, lanes - 3, y, lanes * 4, 0, 0, 0, 0, 0);
    kernels.matmul_inner(form, pointer, a, K * group * 4, rows, group, K, b, lanes, 0, lanes / 2, 1, inner, lanes * 2, 0, 0, 0, 1);
    return linear.u32(y, results).slice();
  };
  try {
    let state = 1;
    const numbers = linear.f32(a, (padded + lanes) * K);
    for (let i = 0; i < numbers.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      numbers[i] = state / 2 ** 31 - 1;
    }
    const want = run(plain, FORM.f32);
    for (let i = 0; i < COMPARISONS; i++) {
      const got = run(wide, FORM.f32 + WIDE);
      if (got.some((bits, at) => bits !== want[at])) return false;
      if (i % 50 === 0) await yieldToOthers();
    }
    return true;
  } finally {
    linear.free(pointer);
  }
}
