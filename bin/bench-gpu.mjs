// npm run bench:gpu [-- OPTION...] (graft-bench-gpu in the archive of pack:offline): see test/bench/gpu.ts.
import '../dist/test/bench/gpu.js';
