/* Asks a resolver for names of six kinds, as fast as answers come, and looks into every answer.

   Usage: ask PORT SOURCE COUNT SEED

   l<N>.listed.test      in every list: nothing but the page's address, always
   s<N>.sometimes.test   in every second list: the page's address or the real one
   c<N>.kept.example     in no list, asked often: the real address
   m<...>.missed.example in no list, asked once: the real address
   d<N>.leads.example    an alias of l<N>.listed.test: the page's address, always
   e<N>.leads.example    an alias of s<N>.sometimes.test: the page's address or the real one

   For a name that an upstream has to be asked for, SERVFAIL is no wrong answer, only a failed one: upstreams come and
   go. A leak is the real address, anywhere in the answer, for a name that is listed or leads to a listed one; it is
   wrong, too. Lost is a query without an answer in PATIENCE; late an answer that came after it, which is looked into
   all the same. Letters of names are of either case, and the answer must have them as they were asked.

   Prints JSON; the first SHOWN wrong answers go to stderr. The names are made up. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { SOCKETS = 4, WINDOW = 48, VECTOR = 32, OCTETS = 2048, QUERY = 72, IDS = 65536, SHOWN = 5, BUFFER = 1 << 20 };
enum { LISTED, SOMETIMES, KEPT, MISSED, LEADS, LEADS_SOMETIMES, KINDS };
enum { FREE, IN_FLIGHT, GIVEN_UP };
static const uint64_t PATIENCE = 10000000000, LOOK = 500000000;
static const unsigned char PAGE[6] = {0, 4, 192, 0, 2, 1}, REAL[6] = {0, 4, 198, 51, 100, 7};
static const char *const KIND_NAMES[KINDS] = {"listed", "sometimes", "kept", "missed", "leads", "leads_sometimes"};

struct query {
    uint64_t sent_at;
    unsigned char octets[QUERY];
    uint8_t length, question, kind, state;
};

static struct query queries[SOCKETS][IDS];
static int sockets[SOCKETS], in_flight[SOCKETS];
static uint64_t asked, answered, wrong, leaked, lost, late, stray, failed, shown;
static uint64_t of_kind[KINDS], blocked[KINDS], real[KINDS];
static uint64_t state, missed;
static unsigned seed;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static uint32_t drawn(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 32) % below;
}

static void make(struct query *one, int id)
{
    char name[QUERY];
    uint32_t many = drawn(100);

    if (many < 48)
        one->kind = LISTED, sprintf(name, "l%u.listed.test", drawn(1000));
    else if (many < 56)
        one->kind = SOMETIMES, sprintf(name, "s%u.sometimes.test", drawn(100));
    else if (many < 94)
        one->kind = KEPT, sprintf(name, "c%u.kept.example", drawn(300));
    else if (many < 95)
        one->kind = MISSED, sprintf(name, "m%u-%llu.missed.example", seed, (unsigned long long)missed++);
    else if (many < 98)
        one->kind = LEADS, sprintf(name, "d%u.leads.example", drawn(100));
    else
        one->kind = LEADS_SOMETIMES, sprintf(name, "e%u.leads.example", drawn(100));

    unsigned char *at = one->octets;
    int edns = drawn(2), length = strlen(name), label = 0;
    memcpy(at, (unsigned char[]){id >> 8, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, edns}, 12);
    at += 12;
    for (int i = 0; i <= length; i++) {
        if (i < length && name[i] != '.') {
            at[i + 1] = name[i] >= 'a' && drawn(4) == 0 ? name[i] ^ 32 : name[i];
        } else {
            at[label] = i - label;
            label = i + 1;
        }
    }
    at += length + 1;
    memcpy(at, (unsigned char[]){0, 0, 1, 0, 1}, 5);
    at += 5;
    one->question = at - one->octets;
    if (edns) {
        memcpy(at, (unsigned char[]){0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}, 11);
        at += 11;
    }
    one->length = at - one->octets;
}

static int after_name(const unsigned char *reply, int at, int length)
{
    while (at < length && reply[at]) {
        if (reply[at] >= 192)
            return at + 2;
        at += reply[at] + 1;
    }
    return at + 1;
}

/* What an answer says: 1 the page's address, 2 the real one, 0 SERVFAIL; -1 anything else. */
static int says(const struct query *one, const unsigned char *reply, int length)
{
    int at = one->question, found = -1;

    if (length < at || !(reply[2] & 0x80) || memcmp(reply + 12, one->octets + 12, at - 12))
        return -1;
    if ((reply[3] & 15) == 2)
        return 0;
    if (reply[3] & 15 || reply[2] & 2)
        return -1;
    for (int count = reply[6] << 8 | reply[7]; count > 0; count--) {
        int body = after_name(reply, at, length);
        if (body + 10 > length)
            return -1;
        int size = reply[body + 8] << 8 | reply[body + 9];
        if (body + 10 + size > length)
            return -1;
        if (reply[body + 1] == 1 && !reply[body]) {
            int here = !memcmp(reply + body + 8, PAGE, 6) ? 1 : !memcmp(reply + body + 8, REAL, 6) ? 2 : -1;
            if (here < 0 || (found > 0 && found != here))
                return -1;
            found = here;
        }
        at = body + 10 + size;
    }
    return found;
}

static void look(struct query *one, const unsigned char *reply, int length)
{
    static const int MAY[KINDS] = {2, 2 | 4 | 1, 1 | 4, 1 | 4, 1 | 2, 1 | 2 | 4};
    int said = says(one, reply, length);
    int leaks = (one->kind == LISTED || one->kind == LEADS) && memmem(reply, length, REAL, 6) != NULL;

    failed += said == 0;
    blocked[one->kind] += said == 1;
    real[one->kind] += said == 2;
    leaked += leaks;
    if (leaks || said < 0 || !(MAY[one->kind] & 1 << said)) {
        wrong++;
        if (shown++ < SHOWN) {
            fprintf(stderr, "wrong, %s: ", KIND_NAMES[one->kind]);
            for (int i = 0; i < one->length; i++)
                fprintf(stderr, "%02x", one->octets[i]);
            fputs(" got ", stderr);
            for (int i = 0; i < length && i < 300; i++)
                fprintf(stderr, "%02x", reply[i]);
            fputc('\n', stderr);
        }
    }
}

static int take(int which)
{
    static unsigned char data[VECTOR][OCTETS];
    static struct iovec parts[VECTOR];
    static struct mmsghdr messages[VECTOR];

    for (int i = 0; i < VECTOR; i++) {
        parts[i] = (struct iovec){.iov_base = data[i], .iov_len = OCTETS};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(sockets[which], messages, VECTOR, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++) {
        struct query *one = messages[i].msg_len < 2 ? NULL : &queries[which][data[i][0] << 8 | data[i][1]];
        if (!one || one->state == FREE) {
            stray++;
            continue;
        }
        look(one, data[i], messages[i].msg_len);
        if (one->state == IN_FLIGHT) {
            answered++;
            in_flight[which]--;
        } else {
            late++;
        }
        one->state = FREE;
    }
    return count > 0 ? count : 0;
}

static void give(int which, int count)
{
    static struct iovec parts[VECTOR];
    static struct mmsghdr messages[VECTOR];
    uint64_t now = now_ns();

    for (int i = 0; i < count; i++) {
        int id;
        do
            id = drawn(IDS);
        while (queries[which][id].state != FREE);
        struct query *one = &queries[which][id];
        make(one, id);
        one->sent_at = now;
        one->state = IN_FLIGHT;
        of_kind[one->kind]++;
        parts[i] = (struct iovec){.iov_base = one->octets, .iov_len = one->length};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (int sent = 0; sent < count;) {
        int more = sendmmsg(sockets[which], messages + sent, count - sent, 0);
        sent += more > 0 ? more : 1;
    }
    in_flight[which] += count;
    asked += count;
}

static int give_up(uint64_t now)
{
    int waiting = 0;

    for (int which = 0; which < SOCKETS; which++)
        for (int id = 0; id < IDS; id++) {
            struct query *one = &queries[which][id];
            if (one->state == IN_FLIGHT && now - one->sent_at > PATIENCE) {
                one->state = GIVEN_UP;
                in_flight[which]--;
                lost++;
            }
            waiting += one->state == IN_FLIGHT;
        }
    return waiting;
}

int main(int argc, char **argv)
{
    struct sockaddr_in here = {.sin_family = AF_INET}, there = {.sin_family = AF_INET};
    struct pollfd polled[SOCKETS];
    int buffer = BUFFER;

    if (argc != 5) {
        fputs("usage: ask PORT SOURCE COUNT SEED\n", stderr);
        return 2;
    }
    there.sin_port = htons(atoi(argv[1]));
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    inet_pton(AF_INET, argv[2], &here.sin_addr);
    uint64_t count = strtoull(argv[3], NULL, 10), looked = now_ns();
    seed = atoi(argv[4]);
    state = seed * 0x9E3779B97F4A7C15ull | 1;
    for (int i = 0; i < SOCKETS; i++) {
        sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(sockets[i], SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        if (bind(sockets[i], (struct sockaddr *)&here, sizeof here) ||
            connect(sockets[i], (struct sockaddr *)&there, sizeof there)) {
            perror("ask");
            return 1;
        }
        polled[i] = (struct pollfd){.fd = sockets[i], .events = POLLIN};
    }
    for (int waiting = 1; asked < count || waiting;) {
        int took = 0;
        for (int i = 0; i < SOCKETS; i++) {
            int room = WINDOW - in_flight[i];
            if (room > VECTOR)
                room = VECTOR;
            if ((uint64_t)room > count - asked)
                room = count - asked;
            if (room > 0)
                give(i, room);
            took += take(i);
        }
        if (!took)
            poll(polled, SOCKETS, 50);
        uint64_t now = now_ns();
        if (now - looked > LOOK || asked >= count) {
            looked = now;
            waiting = give_up(now);
        }
    }
    printf("{\"asked\": %llu, \"answered\": %llu, \"wrong\": %llu, \"leaked\": %llu, \"lost\": %llu, \"late\": %llu, "
           "\"stray\": %llu, \"failed\": %llu", (unsigned long long)asked, (unsigned long long)answered,
           (unsigned long long)wrong, (unsigned long long)leaked, (unsigned long long)lost, (unsigned long long)late,
           (unsigned long long)stray, (unsigned long long)failed);
    for (int kind = 0; kind < KINDS; kind++)
        printf(", \"%s\": {\"asked\": %llu, \"blocked\": %llu, \"real\": %llu}", KIND_NAMES[kind],
               (unsigned long long)of_kind[kind], (unsigned long long)blocked[kind], (unsigned long long)real[kind]);
    puts("}");
    return 0;
}
