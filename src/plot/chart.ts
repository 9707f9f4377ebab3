import sharp from 'sharp';
import * as vega from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';

/** One look for every picture. */
const THEME = {
  background: 'white', font: 'sans-serif', view: { stroke: 'transparent' },
  axis: { gridColor: '#e6e6e6', domainColor: '#888', tickColor: '#888', labelFontSize: 11, titleFontSize: 12, titleFontWeight: 'normal' as const },
  title: { fontSize: 14, fontWeight: 'normal' as const, anchor: 'start' as const },
  range: { category: ['#3b6ea8', '#d1762b', '#4b9560', '#b2445a', '#7b61a6', '#8a6d4f', '#c57aa8', '#777777'] },
};

/** Draws a Vega-Lite picture as SVG. */
export async function toSvg(spec: TopLevelSpec): Promise<string> {
  const { spec: compiled } = compile({ ...spec, config: THEME });
  const view = new vega.View(vega.parse(compiled), { renderer: 'none' });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

/** The SVG at twice its size, as PNG. */
export const toPng = async (svg: string): Promise<Uint8Array> => sharp(Buffer.from(svg), { density: 144 }).png().toBuffer();
