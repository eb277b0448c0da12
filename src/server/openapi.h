/* SPDX-License-Identifier: Apache-2.0 */
/* openapi.json as part of the program. A test holds it against the routes of api.c. */
#pragma once

extern const char openapi_text[], openapi_text_end[];
