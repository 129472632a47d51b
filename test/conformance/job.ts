/** Conformance cases on one backend, the same in every runtime: what is to run there, and what it tells. */
import type { Backend } from '../../src/backend/backend.ts';
import { referenceCase, type WasmVariant, wasmCase, webgpuCase } from '../backends.ts';
import type { BackendCase, Runtime } from '../harness.ts';
import { detectRuntime } from '../platform.ts';
import { readCase } from './case.ts';
import { compareOutputs } from './compare.ts';
import { CaseInputs } from './inputs.ts';
import { flagsWithout, type Instruction, usedHere } from './instructions.ts';
import { CASES } from './ops.ts';

/** Plain data, so that it passes from one runtime to another. */
export interface Job {
  backend: string;
  variant: string;
  threads: number;
  /** Instructions that the engine was told to leave aside. */
  without: readonly Instruction[];
  /** Runs the cases of this op; of all without it. */
  only?: string;
  files: readonly string[];
}

/** What runs the cases; told before the first of them. */
export interface Machine {
  runtime: Runtime;
  version: string;
  backend: string;
  description: string;
  /** Smallest and largest subgroups of the adapter, where there is one that tells. */
  subgroups?: readonly [number, number];
}

export interface Outcome {
  file: string;
  op: string;
  status: 'passed' | 'failed' | 'skipped';
  message?: string;
}

/**
 * Runs a job here and tells the machine, then an outcome per case. `read` gives the bytes of a file, `gpu` the entry object of
 * WebGPU, by default the runtime's own.
 * @throws when there is no such backend here, or it is not as the job says.
 */
export async function runJob(
  job: Job,
  read: (file: string) => Promise<Uint8Array>,
  tell: (line: Machine | Outcome) => void,
  gpu: () => Promise<GPU> = async () => navigator.gpu,
): Promise<void> {
  const backendCase = backendOf(job, gpu);
  if (!backendCase) throw new Error(`there is no backend ${job.backend} ${job.variant}`);
  await using backend = await backendCase.create();
  const trouble = notAsAsked(backend, job);
  if (trouble) throw new Error(trouble);
  const { runtime, version } = detectRuntime();
  const subgroups = backend.name === 'webgpu' ? await subgroupsOf(await gpu()) : undefined;
  tell({ runtime, version, backend: backendCase.name, description: backend.description, subgroups });
  for (const file of job.files) {
    const outcome = await runCase(backend, file, read, job.only);
    if (outcome) tell(outcome);
  }
}

export function backendOf({ backend, variant, threads }: Job, gpu?: () => Promise<GPU>): BackendCase | undefined {
  if (backend === 'reference') return referenceCase();
  if (backend === 'wasm' && ['simd128', 'relaxed'].includes(variant)) return wasmCase(variant as WasmVariant, threads);
  if (backend === 'webgpu') return webgpuCase('', gpu);
  return undefined;
}

/** A run that proves something else than it says is no good. */
function notAsAsked(backend: Backend, { threads, without }: Job): string | undefined {
  if (threads > 1 && !backend.features.has('threads')) return `there are no threads: ${backend.description}`;
  const used = usedHere();
  const left = without.find((instruction) => used[instruction]);
  return left && `the engine uses ${left} in spite of ${flagsWithout([left]).join(' ')}`;
}

async function subgroupsOf(gpu: GPU): Promise<[number, number] | undefined> {
  const { subgroupMinSize, subgroupMaxSize } = (await gpu.requestAdapter())?.info ?? {};
  return subgroupMinSize && subgroupMaxSize ? [subgroupMinSize, subgroupMaxSize] : undefined;
}

/** Undefined for the case of another op than the chosen one. */
async function runCase(
  backend: Backend,
  file: string,
  read: (file: string) => Promise<Uint8Array>,
  only?: string,
): Promise<Outcome | undefined> {
  let op = 'unreadable';
  try {
    const expected = readCase(await read(file), file);
    op = expected.op;
    if (only && op !== only) return undefined;
    const compute = Object.hasOwn(CASES, op) ? CASES[op] : undefined;
    if (!compute) return { file, op, status: 'skipped' };
    const inputs = new CaseInputs(backend, expected.inputs);
    try {
      const { passed, message } = compareOutputs(expected, await compute(inputs, expected.attrs));
      return { file, op, status: passed ? 'passed' : 'failed', message };
    } finally {
      inputs.dispose();
    }
  } catch (error) {
    return { file, op, status: 'failed', message: error instanceof Error ? error.message : String(error) };
  }
}
