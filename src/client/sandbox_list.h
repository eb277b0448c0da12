/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes as the control API lists them. */
#pragma once

#include <jansson.h>

#include "carrel/client.h"

/* Makes a list of an array of the API's objects; takes it over. */
void sandbox_list_take(json_t *array, struct carrel_sandbox_list *ret);
