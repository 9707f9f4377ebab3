/** Resizing of NHWC images. */
import { castTo } from './elementwise.js';
import { defineNumeric, typeOf } from './numeric.js';

interface Attrs { alignCorners: boolean; halfPixelCenters: boolean; size: [number, number] }

for (const [name, nearest] of [['ResizeBilinear', false], ['ResizeNearestNeighbor', true]] as const) {
  defineNumeric<Attrs>(name, ({ inputs: { images }, attrs: { alignCorners, halfPixelCenters, size: [height, width] }, backend }) => {
    const [batch, oldHeight, oldWidth, channels] = images.shape;
    const x = castTo(backend, images, 'float32');
    const y = backend.output([batch, height, width, channels], 'float32');
    backend.native.resize(backend.handle(x), backend.handle(y), batch, oldHeight, oldWidth, height, width, channels, nearest, alignCorners, halfPixelCenters);
    backend.release(x);
    if (!nearest || images.dtype === 'float32') return y;
    const same = castTo(backend, y, typeOf(images)); // nearest keeps the dtype
    backend.release(y);
    return same;
  });

  defineNumeric<Attrs>(`${name}Grad`, ({ inputs: { images, dy }, attrs: { alignCorners, halfPixelCenters }, backend }) => {
    const [batch, oldHeight, oldWidth, channels] = images.shape;
    const [, height, width] = dy.shape;
    const dx = backend.output(images.shape, 'float32');
    backend.native.resizeGrad(backend.handle(dy), backend.handle(dx), batch, oldHeight, oldWidth, height, width, channels, nearest, alignCorners, halfPixelCenters);
    return dx;
  });
}
