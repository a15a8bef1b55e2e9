/* Both ends of many calls: sends PCMA packets of 20 ms at a steady pace and judges what comes back.
 *
 *   rtp_load <calls> <seconds> <tones>
 *
 * Prints the 2 × calls ports of its sockets (caller, callee, caller, ...), reads the ports to send to, then prints
 * "begin" after a second, "end" after the measured seconds and, after half a second more, one line of JSON.
 * One tick a millisecond serves a twentieth of the sockets. Send times are kept here, by sequence number, so that
 * the payload is nothing but the tone: <tones> is a file of 16 tables of one second each, and socket i sends table
 * i mod 16.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TABLES 16
#define TABLE_OCTETS 8000
#define FRAME 160
#define REMEMBERED 4096
#define EVENTS_MAX 1024
#define BUCKETS 1000000 /* a histogram of microseconds, up to one second */

static void fail(const char *what) { perror(what); exit(1); }

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

struct end {
    int socket;
    uint32_t sent, received, misplaced;
    int64_t highest;
    uint64_t *times; /* by sequence number mod REMEMBERED */
};

static struct end *ends;
static uint32_t *histogram;
static uint64_t counted, received_measured;
static int measuring;

static void take(int index) {
    unsigned char packet[2048];
    ssize_t size = recv(ends[index].socket, packet, sizeof packet, 0);
    if (size < 12) return;
    struct end *here = &ends[index], *sender = &ends[index ^ 1];
    uint32_t sequence = packet[2] << 8 | packet[3];
    here->received++;
    if ((int64_t)sequence != here->highest + 1) here->misplaced++;
    if ((int64_t)sequence > here->highest) here->highest = sequence;
    if (!measuring) return;
    received_measured++;
    uint64_t us = (now_ns() - sender->times[sequence % REMEMBERED]) / 1000;
    histogram[us < BUCKETS ? us : BUCKETS - 1]++;
    counted++;
}

static double percentile(double share) {
    uint64_t sum = 0;
    for (int us = 0; us < BUCKETS; us++)
        if ((sum += histogram[us]) >= share * counted) return us / 1000.0;
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int count = 2 * atoi(argv[1]);
    double seconds = atof(argv[2]);
    static unsigned char tones[TABLES * TABLE_OCTETS];
    FILE *file = fopen(argv[3], "rb");
    if (!file || fread(tones, 1, sizeof tones, file) != sizeof tones) fail("tones");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    ends = calloc(count, sizeof *ends);
    histogram = calloc(BUCKETS, sizeof *histogram);
    int poller = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        if ((ends[i].socket = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) < 0) fail("socket");
        if (bind(ends[i].socket, (void *)&address, size)) fail("bind");
        getsockname(ends[i].socket, (void *)&address, &size);
        ends[i].times = calloc(REMEMBERED, sizeof(uint64_t));
        ends[i].highest = -1;
        printf("%d ", ntohs(address.sin_port));
    }
    printf("\n");
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        int port;
        if (scanf("%d", &port) != 1) fail("ports");
        struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
        if (connect(ends[i].socket, (void *)&address, sizeof address)) fail("connect");
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(poller, EPOLL_CTL_ADD, ends[i].socket, &event);
    }
    uint64_t start = now_ns(), ticks_sending = (uint64_t)((seconds + 1.5) * 1000);
    uint64_t begin = 1000, end = begin + (uint64_t)(seconds * 1000), last = ticks_sending + 500;
    uint64_t late_worst_us = 0;
    struct epoll_event events[EVENTS_MAX];
    for (uint64_t tick = 0; tick < last; tick++) {
        uint64_t due = start + tick * 1000000u;
        for (;;) {
            uint64_t now = now_ns();
            if (now >= due) {
                if (measuring && (now - due) / 1000 > late_worst_us) late_worst_us = (now - due) / 1000;
                break;
            }
            struct timespec rest = {0, due - now};
            int ready = epoll_pwait2(poller, events, EVENTS_MAX, &rest, NULL);
            for (int i = 0; i < ready; i++) take(events[i].data.u32);
        }
        if (tick == begin || tick == end) {
            measuring = tick == begin;
            printf(tick == begin ? "begin\n" : "end %llu\n", (unsigned long long)received_measured);
            fflush(stdout);
        }
        if (tick >= ticks_sending) continue;
        for (int i = tick % 20; i < count; i += 20) {
            unsigned char packet[12 + FRAME] = {0x80, 8};
            struct end *from = &ends[i];
            uint32_t sequence = from->sent, timestamp = sequence * FRAME;
            uint32_t header[2] = {htonl(timestamp), htonl(0x1000 + i)};
            packet[2] = sequence >> 8;
            packet[3] = sequence;
            memcpy(packet + 4, header, 8);
            memcpy(packet + 12, tones + (i % TABLES) * TABLE_OCTETS + timestamp % TABLE_OCTETS, FRAME);
            from->times[sequence % REMEMBERED] = now_ns();
            if (send(from->socket, packet, sizeof packet, 0) == sizeof packet) from->sent++;
        }
    }
    uint64_t sent = 0, received = 0, misplaced = 0;
    for (int i = 0; i < count; i++) {
        sent += ends[i].sent;
        received += ends[i].received;
        misplaced += ends[i].misplaced;
    }
    printf("{\"sent\": %llu, \"received\": %llu, \"out_of_order\": %llu, \"latency_p50_ms\": %.3f, "
           "\"latency_p99_ms\": %.3f, \"latency_max_ms\": %.3f, \"pacing_late_worst_ms\": %.3f}\n",
           (unsigned long long)sent, (unsigned long long)received, (unsigned long long)misplaced, percentile(0.5),
           percentile(0.99), percentile(1.0), late_worst_us / 1000.0);
    return 0;
}
