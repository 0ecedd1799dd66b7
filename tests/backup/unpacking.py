"""How others unpack what we packed."""

import gzip
import sys
from collections.abc import Callable

from dbtether.backup.formats import DumpFormat

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UNPACK: dict[DumpFormat, Callable[[bytes], bytes]] = {
    DumpFormat.PLAIN: bytes,
    DumpFormat.GZIP: gzip.decompress,
    DumpFormat.ZSTD: zstd.decompress,
}
