"""Tables written as several Parquet files."""

import pyarrow.parquet as pq


def write_files(table, folder, count, group_rows=131_072):
    """Write the rows to `count` files of about equal length, some of them empty where there are too few rows."""
    paths = [folder / f"part-{number}.parquet" for number in range(count)]
    ends = [table.num_rows * (number + 1) // count for number in range(count)]
    for path, start, end in zip(paths, [0, *ends[:-1]], ends, strict=True):
        pq.write_table(table.slice(start, end - start), path, row_group_size=group_rows)
    return paths
