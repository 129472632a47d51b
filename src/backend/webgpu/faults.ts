/** A device reports errors later, through error scopes. This tracks which buffers they affect, and throws each at the next call. */
import { SkipVisionError } from '../errors.ts';
import type { GpuMemory } from './buffers.ts';

const SCOPES = ['validation', 'out-of-memory', 'internal'] as const;

interface Batch {
  serial: number;
  written: Set<GpuMemory>;
  failed: boolean;
}

/** Of a submit, once all is settled. */
export interface Outcome {
  failure?: SkipVisionError | undefined;
}

/**
 * A failed batch poisons what it wrote, and so does every later batch known when the failure arrives, as it may have
 * read that. The failure is thrown once at the next call, and again whenever poisoned memory is used.
 */
export class Faults {
  readonly #device: GPUDevice;
  readonly #pending = new Set<Promise<void>>();
  /** Batches whose outcome is not known yet, oldest first; the last one is being recorded. */
  #batches: Batch[] = [{ serial: 0, written: new Set(), failed: false }];
  #failure: SkipVisionError | undefined;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Number of the batch that is being recorded. */
  get batch(): number {
    return this.#current.serial;
  }

  get #current(): Batch {
    return this.#batches[this.#batches.length - 1]!;
  }

  wrote(memory: GpuMemory): void {
    this.#current.written.add(memory);
  }

  /** Throws a failure that was not thrown yet. */
  check(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure) throw failure;
  }

  /** Waits until the outcome of all that was done so far is known. */
  async settle(): Promise<void> {
    await Promise.all(this.#pending);
  }

  /**
   * Runs `work` inside error scopes that are opened and closed in one go, so that they never mix with scopes of a
   * caller who shares the device. `report` gets the failure, or undefined when there was none.
   */
  watch<T>(what: string | (() => string), work: () => T, report: (failure: SkipVisionError | undefined) => void): T {
    for (const scope of SCOPES) this.#device.pushErrorScope(scope);
    const errors: Promise<GPUError | null>[] = [];
    try {
      return work();
    } finally {
      for (const _ of SCOPES) errors.unshift(this.#device.popErrorScope());
      const told = Promise.all(errors).then(
        (found) => {
          const index = found.findIndex((error) => error);
          report(index >= 0 ? failureOf(typeof what === 'string' ? what : what(), SCOPES[index]!, found[index]!) : undefined);
        },
        () => {}, // the device is lost, and says so itself
      );
      this.#pending.add(told);
      void told.finally(() => this.#pending.delete(told));
    }
  }

  /** Like `watch`, for things whose failure spoils the batch that is being recorded. */
  watchSetup<T>(what: string, work: () => T): T {
    const { serial } = this.#current;
    return this.watch(what, work, (failure) => this.#fail(serial, failure));
  }

  /** Whether the batch that is being recorded is known to fail. */
  get isSpoilt(): boolean {
    return this.#current.failed;
  }

  /** Spoils the batch that is being recorded. */
  spoil(failure: SkipVisionError): void {
    this.#fail(this.batch, failure);
  }

  /**
   * `submit` hands the recorded batch to the queue; afterwards a new batch begins. The outcome tells once all is settled whether the
   * device refused what was handed over, also where the reason was told before.
   */
  watchBatch(what: () => string, submit: () => void): Outcome {
    const batch = this.#current;
    const outcome: Outcome = {};
    this.#batches.push({ serial: batch.serial + 1, written: new Set(), failed: false });
    this.watch(what, submit, (failure) => {
      outcome.failure = failure;
      this.#fail(batch.serial, failure);
    });
    void Promise.all(this.#pending).then(() => {
      this.#batches = this.#batches.filter(({ serial }) => serial > batch.serial);
    });
    return outcome;
  }

  /** What became of a new buffer. */
  made(memory: GpuMemory, failure: SkipVisionError | undefined): void {
    memory.proven = !failure;
    memory.failure ??= failure;
    this.#failure ??= failure;
  }

  #fail(serial: number, failure: SkipVisionError | undefined): void {
    if (!failure) return;
    const affected = this.#batches.filter((batch) => batch.serial >= serial);
    // A batch that follows a failed one often fails for the same reason: the first reason is the one to tell.
    if (!affected.some((batch) => batch.serial === serial && batch.failed)) this.#failure ??= failure;
    for (const batch of affected) {
      batch.failed = true;
      for (const memory of batch.written) memory.failure ??= failure;
    }
  }
}

function failureOf(what: string, scope: (typeof SCOPES)[number], error: GPUError): SkipVisionError {
  const code = scope === 'out-of-memory' ? 'out-of-memory' : 'backend-failed';
  return new SkipVisionError(code, `WebGPU: ${what}: ${error.message || scope}`, { op: what, cause: error });
}
