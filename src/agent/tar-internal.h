/* SPDX-License-Identifier: Apache-2.0 */
/* The header block, shared by writer and reader. */
#pragma once

enum { TAR_PAX = 'x', TAR_PAX_GLOBAL = 'g', TAR_GNU_NAME = 'L', TAR_GNU_LINK = 'K' };

struct tar_block {
    char name[100];
    char mode[8], uid[8], gid[8];
    char size[12], mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6], version[2];
    char user[32], group[32];
    char major[8], minor[8];
    char prefix[155];
    char rest[12];
};
_Static_assert(sizeof(struct tar_block) == 512, "a block");

/* Of all bytes, the checksum itself counted as spaces. */
static inline unsigned tar_checksum(const struct tar_block *b)
{
    unsigned sum = 8 * ' ';
    const unsigned char *p = (const unsigned char *)b;
    for (unsigned i = 0; i < sizeof *b; i++)
        if (i < 148 || i >= 156)
            sum += p[i];
    return sum;
}
