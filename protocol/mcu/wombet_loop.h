/* The reference loop, and the five functions that a board has to bring. */
#ifndef WOMBET_LOOP_H
#define WOMBET_LOOP_H

#include "wombet_link.h"

/* Milliseconds since some moment; may wrap around. */
uint32_t board_now_ms(void);

/* Sensors of every channel; returns the supply in mV. */
uint16_t board_sense(struct wombet_sample *samples);

/* Drive a current through the motor of a channel. */
void board_drive(uint8_t channel, int16_t current_ma);

/* The next byte that the host sent, if there is one; never waits. */
bool board_receive(uint8_t *byte);

/* Send an answer; may take as long as the line does. */
void board_send(const uint8_t *data, size_t size);

/* One turn. Call it as often as the currents are to be refreshed, at least every millisecond, and
 * feed the hardware watchdog beside it: a processor that hangs cannot keep its deadline. */
void wombet_turn(struct wombet_node *node);

#endif
