/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the functions our conventions ban into compile errors. Included by base/mem.h, and so
 * by practically everything. */
#pragma once

/* System headers declare these; pull the declarations in before the names are poisoned. */
#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef sprintf
#undef vsprintf
#undef strtok
#undef alloca
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok gets
#pragma GCC poison alloca system popen atoi atol atoll
