"""Small tables as other programs write them, for tests of the readers: python tables.py tables/ (pyarrow)."""
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 6
table = pa.table({
    'text': pa.array([f'row {i}' for i in range(ROWS)]),
    'label': pa.array([i % 2 for i in range(ROWS)], pa.int64()),
    'score': pa.array([0.5, None, 1.5, float('nan'), 2.5, -1.0], pa.float32()),
    'flag': pa.array([True, False, None, True, False, True]),
    'tokens': pa.array([['a', 'b'], [], None, ['c'], ['d', None], ['e']], pa.list_(pa.string())),
    'image': pa.array([{'bytes': b'\x89PNG' + bytes([i]), 'path': None} for i in range(ROWS)], pa.struct([('bytes', pa.binary()), ('path', pa.string())])),
    'kind': pa.array(['x', 'y', 'x', 'x', 'y', 'x']).dictionary_encode(),
    'day': pa.array(range(ROWS), pa.date32()),
})
features = {'label': {'names': ['neg', 'pos'], '_type': 'ClassLabel'}, 'image': {'_type': 'Image'}}
table = table.replace_schema_metadata({'huggingface': json.dumps({'info': {'features': features}})})

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
for codec in ['none', 'snappy', 'gzip', 'brotli']:
    pq.write_table(table, folder / f'{codec}.parquet', compression=codec, row_group_size=4, write_page_index=False)
pq.write_table(table.select(['text', 'label', 'score', 'tokens']), folder / 'plain.parquet', compression='none', use_dictionary=False, store_schema=False, data_page_version='2.0')
for name, make in [('stream', pa.ipc.new_stream), ('file', pa.ipc.new_file)]:
    with pa.OSFile(str(folder / f'{name}.arrow'), 'wb') as sink, make(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
for name, codec in [('compressed', 'lz4')]:
    with pa.OSFile(str(folder / f'{name}.arrow'), 'wb') as sink, pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table)
