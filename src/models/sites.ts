import type { Site, SiteKind } from './site.js';

type Extra = Partial<Omit<Site, 'name' | 'kind' | 'layer' | 'role' | 'dimIn' | 'dimOut'>>;

/** Collects the sites of a model in execution order. */
export class SiteList {
  readonly sites: Site[] = [];

  linear(name: string, layer: number, role: string, dimIn: number, dimOut: number, extra: Extra = {}): void {
    this.add('linear', name, layer, role, dimIn, dimOut, { weight: `${name}.weight`, bias: `${name}.bias`, ...extra });
  }

  embedding(name: string, layer: number, role: string, rows: number, d: number): void {
    this.add('embedding', name, layer, role, rows, d, { weight: `${name}.weight` });
  }

  norm(name: string, layer: number, role: string, d: number, type: 'batch' | 'layer' | 'rms', epsilon: number): void {
    this.add('norm', name, layer, role, d, d, { weight: `${name}.weight`, ...(type === 'rms' ? {} : { bias: `${name}.bias` }), norm: { type, epsilon } });
  }

  conv(name: string, layer: number, role: string, dimIn: number, dimOut: number, conv: NonNullable<Site['conv']>, bias = false): void {
    this.add('conv', name, layer, role, dimIn, dimOut, { weight: `${name}.weight`, ...(bias ? { bias: `${name}.bias` } : {}), conv });
  }

  add(kind: SiteKind, name: string, layer: number, role: string, dimIn: number, dimOut = dimIn, extra: Extra = {}): void {
    this.sites.push({ name, kind, layer, role, dimIn, dimOut, ...extra });
  }
}

/** A number of config.json. @throws Error where it is missing: the caller names the file */
export function number(config: Record<string, unknown>, key: string, fallback?: number): number {
  const value = config[key] ?? fallback;
  if (typeof value !== 'number') throw new Error(`config.json has no number '${key}'`);
  return value;
}
