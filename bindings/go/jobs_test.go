package micro_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/broker"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/server"
)

func TestAJobRunsIsTriedAgainAndItsRunsAreTold(t *testing.T) {
	fleet, _, on := kept(t)
	service := fleet.Service("shop", on, micro.Server(server.Grace(0)))
	runs := make(chan server.Running, 8)
	must(t, micro.Every(service, time.Second, func(ctx context.Context) error {
		run, ok := server.RunFromContext(ctx)
		same(t, ok, true)
		_, ok = broker.FromContext(ctx)
		same(t, ok, false)
		runs <- *run
		if run.Attempt == 1 {
			return errors.Newf(errors.CodeFailedPrecondition, "shop", "the disk is full")
		}
		<-ctx.Done()
		return ctx.Err()
	}, server.JobName("clean"), server.JobMaxAttempts(2), server.JobBackoff("none")))
	fleet.Start(service)
	first, second := one(t, runs), one(t, runs)
	same(t, first.Job, "clean")
	same(t, second.Time.Equal(first.Time), true)
	same(t, second.Attempt, 2)
	jobs, err := service.Jobs(t.Context())
	must(t, err)
	same(t, len(jobs), 1)
	same(t, jobs[0].Name+" "+jobs[0].Schedule+" "+jobs[0].Scope, "clean every 1s fleet")
	same(t, jobs[0].Next.After(first.Time), true)
	failed, running := jobs[0].Runs[0], jobs[0].Runs[1]
	same(t, failed.Outcome, "failed")
	same(t, strings.Contains(failed.Error, "the disk is full"), true)
	same(t, failed.Node, service.Record().Nodes[0].Id)
	same(t, fmt.Sprintln(running.Outcome, running.Attempt, running.Took, running.Time.Equal(first.Time)), "running 2 0s true\n")
}

func TestRetryRejectPanicsAndWrappersAreThoseOfMessages(t *testing.T) {
	fleet, _, on := kept(t)
	var wrapped atomic.Int32
	service := fleet.Service("shop", on, micro.WrapSubscriber(func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, msg server.Message) error {
			wrapped.Add(1)
			return next(ctx, msg)
		}
	}))
	runs := make(chan int, 8)
	must(t, micro.Cron(service, "* * * * * *", func(ctx context.Context) error {
		run, _ := server.RunFromContext(ctx)
		runs <- run.Attempt
		switch run.Attempt {
		case 1:
			return broker.Retry(time.Millisecond, errors.New("shop", "not yet", 503))
		case 2:
			panic("a bug")
		}
		return broker.Reject(errors.New("shop", "never", 500))
	}, server.JobName("clean"), server.JobMaxAttempts(5), server.JobBackoff("none"), server.JobZone("Europe/Berlin")))
	fleet.Start(service)
	same(t, fmt.Sprint(one(t, runs), one(t, runs), one(t, runs), one(t, runs)), "1 2 3 1")
	same(t, wrapped.Load() >= 4, true)
	jobs, err := service.Jobs(t.Context())
	must(t, err)
	same(t, jobs[0].Runs[2].Outcome, "failed")
}

func TestAJobThatMakesNoSenseIsRefused(t *testing.T) {
	nothing := func(context.Context) error { return nil }
	fleet, _, _ := kept(t)
	for hint, job := range map[string]*server.Job{
		"99":                    server.NewCron("99 3 * * *", nothing),
		"did you mean `scope`?": server.NewEvery(time.Hour, nothing, server.JobDocument(`{"scop": "node"}`)),
		"durable://":            server.NewEvery(time.Hour, nothing, server.JobName("clean")),
		"1 s to 366 days":       server.NewEvery(time.Millisecond, nothing, server.JobScope("node")),
	} {
		service := fleet.Service("shop", micro.Broker(fleet.URL()))
		must(t, service.Server().AddJob(job))
		err := service.Start()
		if err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("wanted %q, and it said %v", hint, err)
		}
	}
	if err := fleet.Service("shop").Server().AddJob(nil); err == nil {
		t.Error("a job of nothing was taken")
	}
}

// Set in a process that runs a job and works off tasks, to the folder of its broker.
const asWorker = "MICRO_TEST_WORKER"

// workAlone is what a process of a test does: it says of each run which it is, and hangs in the first where it is told to.
func workAlone(folder string) {
	service := micro.NewService(micro.Name("shop"), micro.Registry("memory://alone"), micro.Broker("durable://"+folder),
		micro.Address("127.0.0.1:0"), micro.Environment(false), micro.Server(server.Quiet(true)))
	err := micro.Every(service, time.Second, func(ctx context.Context) error {
		run, _ := server.RunFromContext(ctx)
		fmt.Println(run.Time.Unix(), run.Attempt)
		if os.Getenv("MICRO_TEST_HANGS") != "" {
			<-ctx.Done()
		}
		return nil
	}, server.JobName("tick"), server.JobMakeUp(100))
	if err == nil {
		err = micro.HandleTask(service, "resize", func(_ context.Context, name string) (string, error) { return "small " + name, nil })
	}
	if err == nil {
		err = service.Run()
	}
	fmt.Println(err)
	os.Exit(0)
}

// worker is that process, and what it says.
func worker(t *testing.T, folder string, env ...string) (*exec.Cmd, chan string) {
	t.Helper()
	process := exec.Command(os.Args[0])
	process.Env = append(append(os.Environ(), asWorker+"="+folder), env...)
	output, err := process.StdoutPipe()
	must(t, err)
	must(t, process.Start())
	said, read := make(chan string, 64), make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			said <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = process.Process.Kill()
		<-read
		_ = process.Wait()
	})
	return process, said
}

func TestARunIsOneNodesAndAnothersWhenThatIsKilled(t *testing.T) {
	folder := t.TempDir()
	// Owned by this process, so that the one that is killed is a node.
	owner := micro.NewClient(client.Registry("memory://alone"), client.Broker("durable://"+folder), client.Environment(false))
	defer owner.Close()
	must(t, micro.Publish(t.Context(), owner, "others", 0))
	hanging, said := worker(t, folder, "MICRO_TEST_HANGS=yes")
	var at, attempt int64
	_, err := fmt.Sscan(one(t, said), &at, &attempt)
	must(t, err)
	same(t, attempt, 1)
	_, others := worker(t, folder)
	must(t, hanging.Process.Kill())
	same(t, one(t, others), fmt.Sprint(at, " ", 2))
	for after := int64(1); after <= 3; after++ {
		same(t, one(t, others), fmt.Sprint(at+after, " ", 1))
	}
}

func TestTheAnswerOfATaskIsAskedForInAnotherProcess(t *testing.T) {
	folder := t.TempDir()
	asker := micro.NewClient(client.Registry("memory://alone"), client.Broker("durable://"+folder), client.Environment(false))
	defer asker.Close()
	id, err := micro.Task(t.Context(), asker, "resize", "cat.png", client.PublishKey("cat"), client.PublishMetadata(metadata.Pairs("tenant", "blue")))
	must(t, err)
	state, err := asker.TaskState(t.Context(), id)
	must(t, err)
	same(t, state.State, "queued")
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = micro.TaskResult[string](short, asker, id)
	same(t, errors.Is(err, errors.CodeDeadlineExceeded), true)
	process, _ := worker(t, folder)
	patient, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	answer, err := micro.TaskResult[string](patient, asker, id)
	must(t, err)
	same(t, answer, "small cat.png")
	must(t, process.Process.Kill())
	// It is there although its worker is gone.
	answer, err = micro.TaskResult[string](patient, asker, id)
	must(t, err)
	same(t, answer, "small cat.png")
}

func TestATaskThatFailsIsTriedAgainAndGivenUpWithItsReason(t *testing.T) {
	fleet, caller, on := kept(t)
	service := fleet.Service("images", on)
	attempts, goOn := make(chan int, 8), make(chan struct{})
	must(t, micro.HandleTask(service, "resize", func(ctx context.Context, who person) (*person, error) {
		if who.Name == "dog.png" {
			return &person{Name: "small dog.png"}, nil
		}
		message, _ := broker.FromContext(ctx)
		attempts <- message.Attempt
		<-goOn
		return nil, errors.Newf(errors.CodeFailedPrecondition, "images", "this is no cat")
	}, server.SubscriberMaxAttempts(2), server.SubscriberBackoff("none")))
	fleet.Start(service)
	id, err := micro.Task(t.Context(), caller, "resize", person{Name: "cat.png"})
	must(t, err)
	same(t, one(t, attempts), 1)
	running, err := caller.TaskState(t.Context(), id)
	must(t, err)
	same(t, fmt.Sprint(running.State, running.Attempt, running.Node), fmt.Sprint("running", 1, service.Record().Nodes[0].Id))
	close(goOn)
	same(t, one(t, attempts), 2)
	_, err = micro.TaskResult[person](t.Context(), caller, id)
	same(t, err != nil && strings.Contains(err.Error(), "this is no cat"), true)
	dead, err := caller.TaskState(t.Context(), id)
	must(t, err)
	same(t, dead.State, "dead")
	same(t, errors.Is(dead.Err, errors.CodeAborted), true)
	id, err = micro.Task(t.Context(), caller, "resize", person{Name: "dog.png"})
	must(t, err)
	answer, err := micro.TaskResult[person](t.Context(), caller, id)
	must(t, err)
	same(t, answer.Name, "small dog.png")
	_, err = micro.TaskResult[person](t.Context(), caller, "7")
	same(t, errors.Is(err, errors.CodeInvalidArgument), true)
}

type resize struct{}

func (r *resize) Call(_ context.Context, req *person, rsp *person) error {
	rsp.Name = "small " + req.Name
	return nil
}

// function is one of a fleet that runs, and what its Run returned.
func function(t *testing.T, opts ...micro.Option) (micro.Function, chan error) {
	t.Helper()
	started, over := make(chan struct{}), make(chan error, 1)
	made := micro.NewFunction(append(opts, micro.HandleSignal(false), micro.AfterStart(func() error { close(started); return nil }))...)
	t.Cleanup(func() { must(t, made.Close()) })
	must(t, made.Handle(&resize{}))
	must(t, made.Subscribe("images", func(context.Context, *person) error { panic("no image") }))
	go func() { over <- made.Run() }()
	one(t, started)
	return made, over
}

func TestAFunctionServesOneCallOrMessageAndEnds(t *testing.T) {
	fleet, caller, on := topics(t)
	opts := []micro.Option{micro.Name("images"), micro.Registry(fleet.URL()), micro.Network(fleet.URL()), on, micro.Environment(false)}
	_, over := function(t, opts...)
	reply, err := micro.Call[person](t.Context(), caller, "images", "resize.Call", person{Name: "cat.png"})
	must(t, err)
	same(t, reply.Name, "small cat.png")
	must(t, one(t, over))
	_, over = function(t, opts...)
	// A handler that fails has served as well.
	same(t, micro.Publish(t.Context(), caller, "images", person{Name: "cat.png"}) != nil, true)
	must(t, one(t, over))
	idle, over := function(t, opts...)
	must(t, idle.Done())
	must(t, one(t, over))
}

func TestAnEventOfCloudEventsIsReadAsItWasPublished(t *testing.T) {
	_, caller, _ := kept(t)
	orders, err := caller.Subscribe(t.Context(), "orders")
	must(t, err)
	defer orders.Close()
	next := func() *broker.Delivery {
		delivery, err := orders.Next()
		must(t, err)
		must(t, delivery.Ack())
		return delivery
	}
	event := broker.CloudEvent{Id: "7", Source: "/shop/Köln", Type: "placed", Subject: "a b", Time: time.UnixMilli(1709210096007),
		Attributes: map[string]string{"dataschema": "https://example.com/order"}}
	must(t, micro.Publish(t.Context(), caller, "orders", 7, client.PublishCloudEvent(event)))
	delivery := next()
	same(t, metadata.MD(delivery.Header).Get("ce-source"), "/shop/K%C3%B6ln")
	told, err := delivery.CloudEvent()
	must(t, err)
	same(t, fmt.Sprint(told.Time.Equal(event.Time), told.Id, told.Source, told.Type, told.Subject, told.Attributes),
		fmt.Sprint(true, event.Id, event.Source, event.Type, event.Subject, event.Attributes))
	must(t, micro.Publish(t.Context(), caller, "orders", 7))
	told, err = next().CloudEvent()
	must(t, err)
	same(t, told == nil, true)
	must(t, micro.Publish(t.Context(), caller, "orders", 7, client.PublishMetadata(metadata.Pairs("ce-specversion", "1.0", "ce-id", "7"))))
	_, err = next().CloudEvent()
	same(t, err != nil && strings.Contains(err.Error(), "no header ce-source"), true)
	err = micro.Publish(t.Context(), caller, "orders", 7, client.PublishCloudEvent(broker.CloudEvent{Type: "placed"}))
	same(t, errors.Is(err, errors.CodeInvalidArgument), true)
}
