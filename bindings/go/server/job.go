package server

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/micro/micro/bindings/go/broker"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/document"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/metadata"
	"github.com/micro/micro/bindings/go/registry"
)

// Job is a function that a service runs by the clock.
type Job struct {
	name   string
	handle func(context.Context) error
	opts   JobOptions
}

// JobOptions are what a job is told.
type JobOptions struct{ document document.Document }

// JobOption sets one of them.
type JobOption func(*JobOptions)

func (o *JobOptions) set(key string, value any) { o.document.Set(key, value) }

func (o *JobOptions) duration(key string, value time.Duration) { o.document.Duration(key, value) }

// JobDocument adds a JSON object of settings of a job. Its keys replace what options before it said.
func JobDocument(text string) JobOption {
	return func(o *JobOptions) { o.document.Read(text) }
}

// JobName is what nodes agree by: 1 to 100 letters, digits, "-" and "_"; made of the schedule unless set.
func JobName(name string) JobOption { return func(o *JobOptions) { o.set("name", name) } }

// JobZone is the time zone of a cron expression, such as "Europe/Berlin"; UTC unless set.
func JobZone(zone string) JobOption { return func(o *JobOptions) { o.set("zone", zone) } }

// JobScope is "fleet", which runs it once in the fleet and is the default, or "node", once on each node.
func JobScope(scope string) JobOption { return func(o *JobOptions) { o.set("scope", scope) } }

// JobMissed is what becomes of runs that no node could begin: "skip", which leaves them out and is the default, or "once".
func JobMissed(policy string) JobOption { return func(o *JobOptions) { o.set("missed", policy) } }

// JobMakeUp makes up for the last so many runs that no node could begin, 1 to 1000.
func JobMakeUp(runs int) JobOption { return func(o *JobOptions) { o.set("missed", runs) } }

// JobTimeout is the most time for one run.
func JobTimeout(timeout time.Duration) JobOption {
	return func(o *JobOptions) { o.duration("timeout", timeout) }
}

// JobMaxAttempts is how often a run that fails is attempted, 1 to 100; 1 unless set.
func JobMaxAttempts(attempts int) JobOption {
	return func(o *JobOptions) { o.set("max_attempts", attempts) }
}

// JobBackoff is how long a run waits after a failure: "jittered", "go_micro" or "none".
func JobBackoff(policy string) JobOption { return func(o *JobOptions) { o.set("backoff", policy) } }

// NewEvery makes a job that runs once in each interval, 1 s to 366 days.
func NewEvery(interval time.Duration, handler func(context.Context) error, opts ...JobOption) *Job {
	made := newJob(handler, opts)
	made.opts.duration("every", interval)
	made.named("the job every " + interval.String())
	return made
}

// NewCron makes a job that runs at the moments that a cron expression names.
func NewCron(expression string, handler func(context.Context) error, opts ...JobOption) *Job {
	made := newJob(handler, opts)
	made.opts.set("cron", expression)
	made.named("the job " + expression)
	return made
}

func newJob(handler func(context.Context) error, opts []JobOption) *Job {
	made := &Job{handle: handler}
	for _, opt := range opts {
		opt(&made.opts)
	}
	return made
}

func (j *Job) named(otherwise string) {
	j.name = otherwise
	if name, ok := j.opts.document.Get("name"); ok {
		j.name = fmt.Sprint(name)
	}
}

func (r *rpc) AddJob(job *Job) error {
	if job == nil || job.handle == nil {
		return errors.Newf(errors.CodeInvalidArgument, "micro", "a job without a function: give what NewEvery or NewCron made of one")
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.native != nil {
		return running(r.opts.Name)
	}
	r.jobs = append(r.jobs, job)
	return nil
}

// served is a job with the wrappers of subscribers around it, as what is served.
func (j *Job) served(wrappers []SubscriberWrapper) *served {
	handle := SubscriberFunc(func(ctx context.Context, _ Message) error { return j.handle(ctx) })
	for at := len(wrappers); at > 0; at-- {
		handle = wrappers[at-1](handle)
	}
	return &served{endpoint: &endpoint{name: j.name, shape: native.Unary}, job: j, deliver: handle}
}

// Running is the run of a job that is carried out.
type Running struct {
	// Job is its name.
	Job string
	// Time is when it was to run.
	Time time.Time
	// Attempt is which attempt at this run it is, from 1. One whose node died is attempted again, whatever its handler had done.
	Attempt int
}

type runKey struct{}

// RunFromContext is the run of a job that is carried out; false where the context is of none.
func RunFromContext(ctx context.Context) (*Running, bool) {
	found, ok := ctx.Value(runKey{}).(*Running)
	return found, ok && found != nil
}

// ran carries out a run of a job.
func (c *call) ran() (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			slog.Error("a job panicked", "job", c.endpoint.name, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
			err = errors.Newf(errors.CodeInternal, "micro", "%s failed: the log of its service says why", c.endpoint.name)
		}
	}()
	headers, facts := native.ReadMeta(c.native.Meta)
	c.tick = &Running{}
	for _, fact := range facts {
		switch fact.Name {
		case "job":
			c.tick.Job = fact.Value
		case "time":
			millis, _ := strconv.ParseInt(fact.Value, 10, 64)
			c.tick.Time = time.UnixMilli(millis)
		case "attempt":
			c.tick.Attempt, _ = strconv.Atoi(fact.Value)
		}
	}
	message := &broker.Message{Topic: c.tick.Job, Header: metadata.FromEntries(headers)}
	return c.deliver(c, delivered{message, nil})
}

// JobStatus is a job of a service, and its last runs.
type JobStatus struct {
	Name string
	// Schedule is when it runs, for people.
	Schedule string
	// Scope is "fleet" or "node".
	Scope string
	// Next is when it runs next; zero where that is not known.
	Next time.Time
	// Runs are 100 at most, the oldest first: those of the fleet, or those of this node since it started.
	Runs []Run
}

// Run is what is remembered of a run.
type Run struct {
	// Time is when it was to run.
	Time time.Time
	// Attempt is which attempt at it this was, from 1.
	Attempt int
	// Node is the id of the node that ran it.
	Node string
	// Began is when it began, by the clock of that node.
	Began time.Time
	// Took is how long it took; 0 while it runs.
	Took time.Duration
	// Outcome is "running", "done", "failed", "skipped" (its time had passed) or "lost" (its node died).
	Outcome string
	// Error is why it failed.
	Error string
}

// Statuses are jobs as the core tells them. For the packages of this module.
func Statuses(payload []byte) ([]JobStatus, error) {
	type run struct {
		Time    int64  `json:"time_ms"`
		Attempt int    `json:"attempt"`
		Node    string `json:"node"`
		Began   int64  `json:"began_ms"`
		Took    int64  `json:"took_ms"`
		Outcome string `json:"outcome"`
		Error   string `json:"error"`
	}
	type status struct {
		Name     string `json:"name"`
		Schedule string `json:"schedule"`
		Scope    string `json:"scope"`
		Next     *int64 `json:"next_ms"`
		Runs     []run  `json:"runs"`
	}
	told, err := registry.Decode[[]status](payload)
	if err != nil {
		return nil, err
	}
	made := make([]JobStatus, 0, len(told))
	for _, one := range told {
		job := JobStatus{Name: one.Name, Schedule: one.Schedule, Scope: one.Scope}
		if one.Next != nil {
			job.Next = time.UnixMilli(*one.Next)
		}
		for _, each := range one.Runs {
			took := time.Duration(each.Took) * time.Millisecond
			job.Runs = append(job.Runs, Run{time.UnixMilli(each.Time), each.Attempt, each.Node, time.UnixMilli(each.Began), took, each.Outcome, each.Error})
		}
		made = append(made, job)
	}
	return made, nil
}
