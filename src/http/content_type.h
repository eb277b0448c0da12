/* SPDX-License-Identifier: Apache-2.0 */
/* The Content-Type of a file: by its name's extension, else by its first bytes. */
#pragma once

#include "base/str.h"

enum { CONTENT_TYPE_SNIFF = 512 };

/* Static text, or NULL when the extension says nothing. */
const char *content_type_by_name(struct str name);
/* head: the first CONTENT_TYPE_SNIFF bytes, fewer if the file is shorter. Static text. */
const char *content_type_by_content(struct str head);
