/* SPDX-License-Identifier: Apache-2.0 */
/* Content types of files. */
#include "http/content_type.h"

#include <stdbool.h>

#include "base/mem.h"

#define TEXT_UTF8(kind) "text/" kind "; charset=utf-8"

static const struct {
    const char *extension, *type;
} by_name[] = {
    {"7z", "application/x-7z-compressed"},
    {"avif", "image/avif"},
    {"bin", "application/octet-stream"},
    {"bmp", "image/bmp"},
    {"bz2", "application/x-bzip2"},
    {"css", TEXT_UTF8("css")},
    {"csv", TEXT_UTF8("csv")},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"htm", TEXT_UTF8("html")},
    {"html", TEXT_UTF8("html")},
    {"ico", "image/x-icon"},
    {"ipynb", "application/x-ipynb+json"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", TEXT_UTF8("javascript")},
    {"json", "application/json"},
    {"md", TEXT_UTF8("markdown")},
    {"mjs", TEXT_UTF8("javascript")},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"ogg", "audio/ogg"},
    {"otf", "font/otf"},
    {"parquet", "application/vnd.apache.parquet"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"py", TEXT_UTF8("x-python")},
    {"sh", TEXT_UTF8("x-sh")},
    {"sqlite", "application/vnd.sqlite3"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tgz", "application/gzip"},
    {"tiff", "image/tiff"},
    {"tsv", TEXT_UTF8("tab-separated-values")},
    {"ttf", "font/ttf"},
    {"txt", TEXT_UTF8("plain")},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"webm", "video/webm"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xls", "application/vnd.ms-excel"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"xml", TEXT_UTF8("xml")},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

static const struct {
    struct str magic;
    const char *type;
} by_content[] = {
    {{"%PDF-", 5}, "application/pdf"},
    {{"\x89PNG\r\n\x1a\n", 8}, "image/png"},
    {{"\xff\xd8\xff", 3}, "image/jpeg"},
    {{"GIF87a", 6}, "image/gif"},
    {{"GIF89a", 6}, "image/gif"},
    {{"\x1f\x8b\x08", 3}, "application/x-gzip"},
    {{"PK\x03\x04", 4}, "application/zip"},
    {{"BZh", 3}, "application/x-bzip2"},
    {{"\xfd"
      "7zXZ\0",
      6},
     "application/x-xz"},
    {{"\0asm", 4}, "application/wasm"},
    {{"OggS\0", 5}, "application/ogg"},
    {{"ID3", 3}, "audio/mpeg"},
    {{"<?xml", 5}, "text/xml; charset=utf-8"},
    {{"<!DOCTYPE html", 14}, "text/html; charset=utf-8"},
    {{"<!doctype html", 14}, "text/html; charset=utf-8"},
    {{"<html", 5}, "text/html; charset=utf-8"},
};

const char *content_type_by_name(struct str name)
{
    size_t dot = name.len;
    while (dot && name.p[dot - 1] != '.' && name.p[dot - 1] != '/')
        dot--;
    if (dot == 0 || name.p[dot - 1] != '.')
        return NULL;
    struct str extension = {name.p + dot, name.len - dot};
    for (size_t i = 0; i < ARRAY_SIZE(by_name); i++)
        if (str_ieqz(extension, by_name[i].extension))
            return by_name[i].type;
    return NULL;
}

const char *content_type_by_content(struct str head)
{
    for (size_t i = 0; i < ARRAY_SIZE(by_content); i++)
        if (str_starts(head, by_content[i].magic))
            return by_content[i].type;
    if (head.len >= 12 && memcmp(head.p, "RIFF", 4) == 0 && memcmp(head.p + 8, "WEBP", 4) == 0)
        return "image/webp";
    /* The WHATWG's bytes that no text contains. */
    for (size_t i = 0; i < head.len; i++) {
        unsigned char c = (unsigned char)head.p[i];
        if (c <= 0x08 || c == 0x0b || (c >= 0x0e && c <= 0x1a) || (c >= 0x1c && c <= 0x1f))
            return "application/octet-stream";
    }
    return TEXT_UTF8("plain");
}
