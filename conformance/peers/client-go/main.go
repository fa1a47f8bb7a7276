// A candidate of client-go's own election (k8s.io/client-go/tools/leaderelection), for the interoperation cases.
//
// It contends, says so, and leads until it is told otherwise: SIGTERM ends it, with a release under --release;
// SIGKILL and SIGSTOP leave its lease to run out. A term that it loses ends it, as it ends the core components.
// Every line it prints is one event, with the boot clock in nanoseconds:
//
//	contends <ns>
//	leads <ns>               its work began (OnStartedLeading)
//	renewed <ns>             a claim was acknowledged, and sent at this moment; the first one comes before "leads"
//	sees <ns> <holder>       it read that another holds the lock
//	releases <ns>            it is about to write a claim without holder, over its own
//	erases <ns> <holder>     the same, over what it just read to be another's
//	released <ns>            that was acknowledged, and was sent at this moment
//	stops <ns>               its work was told to end (OnStoppedLeading)
//
// With endpoints.mod it is built with the last client-go that knows Endpoints.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	kind := flag.String("kind", "leases", "the lock's kind, as client-go names it: leases or endpoints")
	namespace := flag.String("namespace", "default", "the lock's namespace")
	name := flag.String("name", "", "the lock's name")
	identity := flag.String("identity", "go", "the candidate's identity")
	var timing leaderelection.LeaderElectionConfig
	flag.DurationVar(&timing.LeaseDuration, "lease-duration", 15*time.Second, "")
	flag.DurationVar(&timing.RenewDeadline, "renew-deadline", 10*time.Second, "")
	flag.DurationVar(&timing.RetryPeriod, "retry-period", 2*time.Second, "")
	timeout := flag.Duration("request-timeout", 5*time.Second, "client-go's own is half the renew deadline")
	flag.BoolVar(&timing.ReleaseOnCancel, "release", false, "release on SIGTERM (ReleaseOnCancel)")
	flag.Parse()
	// That a request failed is no news here.
	klog.SetLogger(logr.Discard())
	if err := run(*kubeconfig, *kind, *namespace, *name, *identity, timing, *timeout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig, kind, namespace, name, identity string, config leaderelection.LeaderElectionConfig, timeout time.Duration) error {
	client, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	// A short retry period shall not be held up by the client's own limit.
	client.QPS, client.Burst = 50, 100
	// As the core components make theirs: with a timeout for requests, which is half of what is said here.
	own := resourcelock.ResourceLockConfig{Identity: identity}
	lock, err := resourcelock.NewFromKubeconfig(kind, namespace, name, own, client, 2*timeout)
	if err != nil {
		return err
	}
	config.Lock = &told{Interface: lock}
	config.Callbacks = leaderelection.LeaderCallbacks{
		OnStartedLeading: func(context.Context) { say("leads", now(), "") },
		OnStoppedLeading: func() { say("stops", now(), "") },
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	say("contends", now(), "")
	elector, err := leaderelection.NewLeaderElector(config)
	if err != nil {
		return err
	}
	elector.Run(ctx)
	return nil
}

// A lock of client-go that tells what is read from it and written to it.
type told struct {
	resourcelock.Interface
	mutex  sync.Mutex
	holder string
}

func (lock *told) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := lock.Interface.Get(ctx)
	if err == nil {
		lock.saw(record.HolderIdentity)
	}
	return record, raw, err
}

func (lock *told) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return lock.write(ctx, record, lock.Interface.Create)
}

func (lock *told) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return lock.write(ctx, record, lock.Interface.Update)
}

func (lock *told) write(ctx context.Context, record resourcelock.LeaderElectionRecord, write func(context.Context, resourcelock.LeaderElectionRecord) error) error {
	event := "renewed"
	if record.HolderIdentity == "" {
		event = "released"
		if before := lock.last(); before != "" && before != lock.Identity() {
			say("erases", now(), before)
		} else {
			say("releases", now(), "")
		}
	}
	sent := now()
	err := write(ctx, record)
	if err == nil {
		lock.set(record.HolderIdentity)
		say(event, sent, "")
	}
	return err
}

func (lock *told) last() string {
	lock.mutex.Lock()
	defer lock.mutex.Unlock()
	return lock.holder
}

func (lock *told) set(holder string) (before string) {
	lock.mutex.Lock()
	defer lock.mutex.Unlock()
	before, lock.holder = lock.holder, holder
	return before
}

func (lock *told) saw(holder string) {
	if lock.set(holder) != holder && holder != "" && holder != lock.Identity() {
		say("sees", now(), holder)
	}
}

func now() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err)
	}
	return now.Nano()
}

func say(event string, at int64, detail string) {
	fmt.Println(strings.TrimSpace(fmt.Sprintf("%s %d %s", event, at, detail)))
}
