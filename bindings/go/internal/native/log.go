package native

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

var levels = map[string]slog.Level{
	"error": slog.LevelError,
	"warn":  slog.LevelWarn,
	"info":  slog.LevelInfo,
	"debug": slog.LevelDebug,
	"trace": slog.LevelDebug - 4,
}

// level is what is worth recording, as slog is set up. Where it is not, warnings are, and the line that a service has started.
func level() string {
	if fmt.Sprintf("%T", slog.Default().Handler()) == "*slog.defaultHandler" {
		return "warn"
	}
	for _, name := range []string{"debug", "info", "warn", "error"} {
		if slog.Default().Enabled(context.Background(), levels[name]) {
			return name
		}
	}
	return "off"
}

// toSlog tells the library's records to slog, as it is set up by then.
func toSlog(records []byte) {
	var told []struct {
		Time    int64  `json:"time_ms"`
		Level   string `json:"level"`
		Target  string `json:"target"`
		Message string `json:"message"`
	}
	if json.Unmarshal(records, &told) != nil {
		return
	}
	handler := slog.Default().Handler()
	for _, one := range told {
		known, ok := levels[one.Level]
		if !ok {
			known = slog.LevelWarn
		}
		if !handler.Enabled(context.Background(), known) {
			continue
		}
		record := slog.NewRecord(time.UnixMilli(one.Time), known, one.Message, 0)
		record.AddAttrs(slog.String("target", one.Target))
		_ = handler.Handle(context.Background(), record)
	}
}
