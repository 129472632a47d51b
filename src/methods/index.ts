import { unknownName } from '../backend/errors.ts';
import type { LlavaConfig } from '../model/families/llava-config.ts';
import type { Method } from '../model/stack/method.ts';
import { none } from './none.ts';
import { type SkipVisionOptions, skipVision } from './skip-vision.ts';

export { none } from './none.ts';
export { type SkipVisionOptions, skipVision } from './skip-vision.ts';

/** Every method by name: makes it with the settings that the checkpoint was trained with, where it says so. */
const METHODS = {
  none,
  'skip-vision': ({ skipVision: trained, vision }) => skipVision(trained ?? publishedCounts((vision.imageSize / vision.patchSize) ** 2)),
} satisfies Record<string, (config: LlavaConfig) => Method>;

export type MethodName = keyof typeof METHODS;
export const METHOD_NAMES = Object.keys(METHODS) as readonly MethodName[];

/** The published ratio: 100 retained and 156 skipped of 576 patches. */
function publishedCounts(patches: number): SkipVisionOptions {
  return { retained: Math.round((patches * 100) / 576), skipped: Math.round((patches * 156) / 576) };
}

/** A method by name, with the settings the checkpoint was trained with where it says so. */
export function methodByName(name: string, config: LlavaConfig): Method {
  if (!Object.hasOwn(METHODS, name)) throw unknownName('method', name, METHOD_NAMES);
  return METHODS[name as MethodName](config);
}

/** The method a checkpoint was trained for. */
export function trainedMethod(config: LlavaConfig): Method {
  return methodByName(config.skipVision ? 'skip-vision' : 'none', config);
}
