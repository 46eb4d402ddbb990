#include "wombet_loop.h"

/* A host that babbles must not keep the motors from being looked after. */
#define BYTES_PER_TURN WOMBET_FRAME_MAX

static void listen(struct wombet_node *node)
{
    uint8_t byte, answer[WOMBET_FRAME_MAX];
    for (size_t heard = 0; heard < BYTES_PER_TURN && board_receive(&byte); heard++) {
        size_t size = wombet_hear(node, byte, board_now_ms(), answer);
        if (size > 0) {
            board_send(answer, size);
        }
    }
}

void wombet_turn(struct wombet_node *node)
{
    struct wombet_sample samples[WOMBET_CHANNELS_MAX] = {{0}};
    uint16_t supply_mv = board_sense(samples);
    wombet_sense(node, samples, supply_mv);
    listen(node);
    wombet_elapse(node, board_now_ms());
    for (uint8_t i = 0; i < node->board->channels; i++) {
        board_drive(i, wombet_current_ma(node, i));
    }
}
