"""Makes digits.bin.gz from scikit-learn's digits.csv.gz.

    python make_digits.py path/to/digits.csv.gz

The result is the 1797 x 64 pixels (0 to 16, row by row), then the 1797 labels (0 to 9), one byte each,
packed with gzip without name and time so that the same input gives the same file.
"""

import gzip
import io
import pathlib
import sys

rows = [[int(cell) for cell in line.split(",")] for line in gzip.open(sys.argv[1], "rt")]
assert len(rows) == 1797 and all(len(row) == 65 for row in rows)
pixels = bytes(pixel for row in rows for pixel in row[:64])
labels = bytes(row[64] for row in rows)
assert max(pixels) == 16 and sorted(set(labels)) == list(range(10))

packed = io.BytesIO()
with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as stream:
    stream.write(pixels + labels)
(pathlib.Path(__file__).parent / "digits.bin.gz").write_bytes(packed.getvalue())
