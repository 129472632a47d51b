import type { Backend } from '../../../src/backend/backend.ts';

/** Registers a law for one backend; the laws of a suite share it. */
export type Law = (name: string, run: (backend: Backend) => Promise<void>) => void;
