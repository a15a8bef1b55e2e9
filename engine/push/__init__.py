"""What is told over MQTT, and to whom."""
