/** Whether the long versions of some tests are asked for: `npm run test:long`. */
export const LONG = process.env.GRAFT_LONG === '1';
