package main

import (
	"github.com/fsnotify/fsnotify"
	"github.com/spf13/viper"
)

// watchViper is viper's own documented use: WatchConfig, and a value read in OnConfigChange.
func watchViper(_, file string) error {
	config := viper.New()
	config.SetConfigFile(file)
	config.SetConfigType("json")
	if err := config.ReadInConfig(); err != nil {
		return err
	}
	config.OnConfigChange(func(event fsnotify.Event) {
		reaction(event.Name, config.GetString("value"))
	})
	config.WatchConfig()
	ready("github.com/spf13/viper")
	return nil
}
