# bitsandbytes' codes of a small weight -> codes.json: NF4 in blocks of 64 with double quantisation, and int8 by rows. Values are multiples of
# 2^-9 that the test makes again, and that float16 holds, which int8_vectorwise_quant asks for.
#   python codes.py    (torch, bitsandbytes; no GPU is needed)
import base64
import json
import pathlib

import bitsandbytes.functional as F
import numpy as np
import torch

ROWS, COLUMNS = 64, 260  # blocks go across rows, and are more than the 256 that share a scale

i = np.arange(ROWS * COLUMNS, dtype=np.uint64)
values = ((i * 2654435761 % 2**32 >> 21).astype(np.float64) - 1024) / 512 * 2.0 ** (i // 64 % 5)
w = torch.tensor(values.astype(np.float32)).reshape(ROWS, COLUMNS)
assert torch.equal(w.half().float(), w)

text = lambda t: base64.b64encode(t.contiguous().numpy().tobytes()).decode()
codes, state = F.quantize_4bit(w, blocksize=64, compress_statistics=True, quant_type='nf4')
magnitudes = F.dequantize_blockwise(state.absmax, state.state2) + state.offset
ints, scales, _ = F.int8_vectorwise_quant(w[:16].half())
out = {
    'rows': ROWS, 'columns': COLUMNS,
    'nf4': {'codes': text(codes.flatten()), 'values': state.code.tolist(), 'magnitudes': text(magnitudes.float())},
    'int8': {'rows': 16, 'codes': text(ints), 'scales': text(scales.float())},
}
pathlib.Path(__file__).with_name('codes.json').write_text(json.dumps(out) + '\n')
