import { usageError } from '../../errors.js';
import { corruptionsOf, STANDARD } from '../corruptions/registry.js';

/** The ten random orders over which CoTTA's averaged tables are (its repository). */
const PUBLISHED = [
  'br px gn mb zb gb in jp db el sn fr sw fg ct', 'jp sn zb fr ct fg db el gn br gb in px sw mb', 'ct db gn sn sw fr gb zb el jp px br in mb fg',
  'sn fg gb px sw el br in db fr ct gn mb jp zb', 'px gb zb sw fg in br mb fr jp gn sn ct db el', 'mb sw fg sn db ct zb br fr el gb gn px jp in',
  'fr in jp ct zb gb px sw db mb br el sn fg gn', 'gb zb in fg sw jp gn fr sn br ct mb px db el', 'db mb zb sn gn gb jp fg ct px fr sw br el in',
  'ct gn db zb fr gb jp fg px el sn in sw mb br'];

/**
 * The domains of a table in the order of a stream.
 * @param order a number 0 to 9 (a published order), names with commas, or undefined: the benchmark's corruptions in its order,
 * other domains after them as they come
 * @throws GraftError (usage) for an order that leaves a domain out
 */
export function orderDomains(found: readonly string[], order: string | undefined): string[] {
  if (order === undefined) {
    const standard = STANDARD.map((c) => c.name).filter((n) => found.includes(n));
    return [...standard, ...found.filter((d) => !standard.includes(d))];
  }
  const wanted = /^\d$/.test(order) ? PUBLISHED[Number(order)].split(' ').map((a) => corruptionsOf(a)[0].name) : order.split(',');
  const missing = found.filter((d) => !wanted.includes(d));
  if (missing.length > 0) throw usageError(`--order ${order}: leaves out the domain '${missing[0]}' of the data`);
  return wanted.filter((d) => found.includes(d));
}
