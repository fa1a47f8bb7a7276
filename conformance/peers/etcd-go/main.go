// A candidate of etcd's own election (go.etcd.io/etcd/client/v3/concurrency), for the interoperation cases.
//
// It campaigns, says so, and holds the lock until it is told otherwise: SIGTERM resigns and ends; SIGKILL and
// SIGSTOP leave its lease to run out. Every line it prints is one event, with the boot clock in nanoseconds:
//
//	campaigning <ns> <lease>
//	elected <ns> <revision>
//	lost <ns>
//	resigned <ns>
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"golang.org/x/sys/unix"
)

func main() {
	endpoints := flag.String("endpoints", "", "comma-separated endpoints")
	election := flag.String("election", "", "name of the election")
	identity := flag.String("identity", "go", "value of the key")
	ttl := flag.Int("ttl", 5, "lease in seconds")
	flag.Parse()
	if err := run(strings.Split(*endpoints, ","), *election, *identity, *ttl); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(endpoints []string, election, identity string, ttl int) error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(ttl))
	if err != nil {
		return err
	}
	say("campaigning", fmt.Sprintf("%x", session.Lease()))
	ctx, cancel := context.WithCancel(context.Background())
	candidate := concurrency.NewElection(session, election)
	elected := make(chan error, 1)
	go func() { elected <- candidate.Campaign(ctx, identity) }()
	select {
	case err := <-elected:
		if err != nil {
			cancel()
			return err
		}
		say("elected", fmt.Sprint(candidate.Rev()))
	case <-asked:
		cancel()
		<-elected
		say("resigned", "")
		return session.Close()
	}
	defer cancel()
	select {
	case <-session.Done():
		say("lost", "")
		return nil
	case <-asked:
		if err := candidate.Resign(context.Background()); err != nil {
			return err
		}
		say("resigned", "")
		return session.Close()
	}
}

func say(event, detail string) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err)
	}
	fmt.Println(strings.TrimSpace(fmt.Sprintf("%s %d %s", event, now.Nano(), detail)))
}
