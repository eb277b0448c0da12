/* SPDX-License-Identifier: Apache-2.0 */
/* PEM text. A bundle may come from a hostile template, so the work is linear in its size, but for
 * one sort. */
#include "box/ns/pem.h"

#include <stdint.h>

#include "base/mem.h"

#define BEGIN_LINE "-----BEGIN CERTIFICATE-----"
#define END_LINE   "-----END CERTIFICATE-----"

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A line without its blanks at the end; false at the end of the text. */
static bool next_line(struct str *rest, struct str *ret)
{
    if (!str_split(rest, '\n', ret))
        return false;
    while (ret->len > 0 && is_blank(ret->p[ret->len - 1]))
        ret->len--;
    return true;
}

bool pem_next(struct str *rest, struct str *ret)
{
    const char *begin = NULL;
    bool body = false;
    struct str line;
    while (next_line(rest, &line)) {
        if (str_eqz(line, BEGIN_LINE)) {
            begin = line.p;
            body = false;
            continue;
        }
        if (begin == NULL)
            continue;
        if (str_eqz(line, END_LINE) && body) {
            *ret = (struct str){begin, (size_t)(line.p + line.len - begin)};
            return true;
        }
        for (size_t i = 0; i < line.len && begin != NULL; i++) {
            if (!is_base64(line.p[i]))
                begin = NULL;
        }
        body = body || line.len > 0;
    }
    return false;
}

/* Next character of a block that counts, or -1. */
static int next_char(struct str block, size_t *at)
{
    while (*at < block.len && is_blank(block.p[*at]))
        ++*at;
    return *at < block.len ? (unsigned char)block.p[(*at)++] : -1;
}

bool pem_same(struct str a, struct str b)
{
    size_t i = 0, j = 0;
    int c;
    do {
        c = next_char(a, &i);
        if (c != next_char(b, &j))
            return false;
    } while (c >= 0);
    return true;
}

struct entry {
    uint64_t hash;
    struct str block;
};

struct entry_list {
    struct entry *at;
    size_t count, room;
};

static uint64_t hash_block(struct str block)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    size_t at = 0;
    for (int c = next_char(block, &at); c >= 0; c = next_char(block, &at))
        hash = (hash ^ (unsigned)c) * UINT64_C(0x100000001b3);
    return hash;
}

static int entry_order(const void *a, const void *b)
{
    uint64_t x = ((const struct entry *)a)->hash, y = ((const struct entry *)b)->hash;
    return x < y ? -1 : x > y;
}

static void list_add(struct entry_list *list, struct str block)
{
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 256;
        list->at = xrealloc(list->at, list->room * sizeof(*list->at));
    }
    list->at[list->count++] = (struct entry){hash_block(block), block};
}

static bool list_has(const struct entry_list *list, struct str block)
{
    uint64_t hash = hash_block(block);
    size_t low = 0, high = list->count;
    while (low < high) { /* the first with this hash */
        size_t middle = low + (high - low) / 2;
        if (list->at[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < list->count && list->at[low].hash == hash; low++) {
        if (pem_same(list->at[low].block, block))
            return true;
    }
    return false;
}

size_t pem_missing(struct str have, struct str add, struct str *out, size_t max)
{
    struct entry_list known = {0};
    struct str block;
    size_t count = 0;
    while (pem_next(&have, &block))
        list_add(&known, block);
    if (known.count > 0)
        qsort(known.at, known.count, sizeof(*known.at), entry_order);
    while (pem_next(&add, &block)) {
        bool repeated = list_has(&known, block);
        for (size_t i = 0; i < count && i < max && !repeated; i++)
            repeated = pem_same(out[i], block);
        if (repeated)
            continue;
        if (count < max)
            out[count] = block;
        count++;
    }
    free(known.at);
    return count;
}
