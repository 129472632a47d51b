/** Tests that run in Node see `navigator.gpu` as a browser has it, when a Vulkan driver is installed. */
import { driverIsChosen, installedAdapters, nodeGpu } from './gpu.ts';

if (!('gpu' in navigator) && (driverIsChosen || installedAdapters().length > 0)) {
  Object.defineProperty(navigator, 'gpu', { value: await nodeGpu(), configurable: true });
}
