import { unknownName } from '../backend/errors.ts';
import type { LlavaConfig } from '../model/config.ts';
import type { Method } from '../model/method.ts';
import { none } from './none.ts';
import { skipVision } from './skip-vision.ts';

export { none } from './none.ts';
export { type SkipVisionOptions, skipVision } from './skip-vision.ts';

export const METHOD_NAMES = ['none', 'skip-vision'] as const;
export type MethodName = (typeof METHOD_NAMES)[number];

/** A method by name, with the settings the checkpoint was trained with where it says so. */
export function methodByName(name: string, config: LlavaConfig): Method {
  switch (name) {
    case 'none':
      return none();
    case 'skip-vision': {
      const patches = (config.vision.imageSize / config.vision.patchSize) ** 2;
      // without a trained setting: the published ratio 100 : 156 of 576 patches
      const { retained, skipped, ...trained } = config.skipVision ?? {
        retained: Math.round((patches * 100) / 576),
        skipped: Math.round((patches * 156) / 576),
      };
      return skipVision({ retained, skipped, ...trained });
    }
    default:
      throw unknownName('method', name, METHOD_NAMES);
  }
}

/** The method a checkpoint was trained for. */
export function trainedMethod(config: LlavaConfig): Method {
  return methodByName(config.skipVision ? 'skip-vision' : 'none', config);
}
