package main

import (
	"github.com/knadh/koanf/parsers/json"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// watchKoanf is koanf's own documented use: the file provider's Watch, and a new Load in it.
func watchKoanf(_, path string) error {
	provider := file.Provider(path)
	err := provider.Watch(func(_ any, err error) {
		if err != nil {
			fail(err)
		}
		config := koanf.New(".")
		if err := config.Load(provider, json.Parser()); err != nil {
			fail(err)
		}
		// It does not tell which name it was.
		reaction(path, config.String("value"))
	})
	if err != nil {
		return err
	}
	ready("github.com/knadh/koanf/providers/file")
	return nil
}
