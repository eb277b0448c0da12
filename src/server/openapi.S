/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of openapi.json. */
    .section .rodata
    .globl openapi_text
    .hidden openapi_text
    .globl openapi_text_end
    .hidden openapi_text_end
openapi_text:
    .incbin TEXT
openapi_text_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
