import { unknownName } from '../backend/errors.ts';
import * as field from '../backend/fields.ts';
import { type Method, MODEL_FACTS, type ModelFacts } from '../model/stack/hooks.ts';
import { fastV } from './fastv.ts';
import { none } from './none.ts';
import { publishedCounts, skipVision, trainedSkipVision } from './skip-vision.ts';

export { type FastVOptions, fastV } from './fastv.ts';
export { none } from './none.ts';
export { type SkipVisionOptions, skipVision } from './skip-vision.ts';

/** A row of the table: how to make a method for a model. */
interface MethodEntry {
  /** With the settings the checkpoint was trained with, where its config.json says so. */
  trained?(model: ModelFacts): Method | undefined;
  /** With settings that fit the model. */
  fitting(model: ModelFacts): Method;
}

const METHODS = {
  none: { fitting: none },
  fastv: { fitting: () => fastV() },
  'skip-vision': { trained: trainedSkipVision, fitting: (model) => skipVision(publishedCounts(model)) },
} satisfies Record<string, MethodEntry>;

export type MethodName = keyof typeof METHODS;
export const METHOD_NAMES = Object.keys(METHODS) as readonly MethodName[];

export const METHOD_FIELDS = { methodByName: { name: field.text, model: MODEL_FACTS }, trainedMethod: { model: MODEL_FACTS } };

/** A method by name, with the settings the checkpoint was trained with where it says so. */
export function methodByName(name: string, model: ModelFacts): Method {
  field.checkFields('methodByName', { name, model }, METHOD_FIELDS.methodByName);
  if (!Object.hasOwn(METHODS, name)) throw unknownName('method', name, METHOD_NAMES);
  const entry: MethodEntry = METHODS[name as MethodName];
  return entry.trained?.(model) ?? entry.fitting(model);
}

/** The method a checkpoint was trained for. */
export function trainedMethod(model: ModelFacts): Method {
  field.checkFields('trainedMethod', { model }, METHOD_FIELDS.trainedMethod);
  for (const entry of Object.values<MethodEntry>(METHODS)) {
    const method = entry.trained?.(model);
    if (method) return method;
  }
  return none();
}
